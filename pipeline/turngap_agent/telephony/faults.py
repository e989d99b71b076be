"""The fault that a call asks for, for tests of what its caller hears then; carried in the stream's custom parameters.

One parameter, `turngap-fault`: stage, kind, moment and how often, as in "stt raise first-word once". An agent hears it
only if it was started with `serve --inject-faults`; any other ignores it, as it ignores all parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from turngap_agent.documents import list_choices
from turngap_agent.errors import ProtocolError

PARAMETER = "turngap-fault"
Word = TypeVar("Word", bound=StrEnum)


class FaultStage(StrEnum):
    """Where the fault is."""

    VAD = "vad"
    TURN = "turn"
    """The turn model."""
    STT = "stt"
    LLM = "llm"
    TTS = "tts"
    SENDING = "sending"
    """The agent's messages with audio, on their way to the socket."""


class FaultKind(StrEnum):
    """What goes wrong."""

    RAISE = "raise"
    """An exception that is no `EngineError`: an engine's library raises what it likes."""
    HANG = "hang"
    """It waits for ever, and can be cancelled."""
    STUCK = "stuck"
    """A thread of the engine is in native code that never returns, and that nothing can cancel. Whatever the same
    engine is asked from then on, by any call, waits behind it."""
    NOTHING = "nothing"
    """It ends at once, without a result."""
    GARBAGE = "garbage"
    """It returns what no caller said and no voice is: numbers that are none, control characters, noise."""
    SLOW = "slow"
    """It works, 2 s late, and each later piece 300 ms later than the one before."""
    KILL = "kill"
    """Its process is killed (SIGKILL), where it has one."""


class Moment(StrEnum):
    """From when on the fault can strike; it does so at the stage's next step."""

    FIRST_WORD = "first-word"
    """From the start of the call: before the agent has said a word."""
    MID_REPLY = "mid-reply"
    """Once a part of the first reply has been sent. A stage that has no work in a reply fails in the next turn."""
    BARGE_IN = "barge-in"
    """Once the agent has fallen silent because the caller spoke over it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault."""

    stage: FaultStage
    kind: FaultKind
    moment: Moment
    always: bool = False
    """Whether every step fails from then on; otherwise one does."""

    def __str__(self) -> str:
        return f"{self.stage} {self.kind} {self.moment} {'always' if self.always else 'once'}"


def can_happen(stage: FaultStage, kind: FaultKind) -> bool:
    """Whether there is such a fault: only an engine has threads of its own, and perhaps a process."""
    return stage is not FaultStage.SENDING or kind not in (FaultKind.STUCK, FaultKind.KILL)


def format_parameters(fault: Fault) -> dict[str, str]:
    """Return the custom parameters that ask for `fault`."""
    return {PARAMETER: str(fault)}


def parse_parameters(custom_parameters: Mapping[str, str]) -> Fault | None:
    """Return the fault that a stream's custom parameters ask for, None for none; other parameters are ignored.

    Raises:
        ProtocolError: (`protocol.fault`) it is malformed, or there is no such fault.
    """
    if (value := custom_parameters.get(PARAMETER)) is None:
        return None
    words = value.split()
    if len(words) != 4:
        raise _error(value, "expected STAGE KIND MOMENT once|always")
    stage = _find(value, words[0], "stage", FaultStage)
    kind = _find(value, words[1], "kind", FaultKind)
    moment = _find(value, words[2], "moment", Moment)
    if words[3] not in ("once", "always"):
        raise _error(value, f"expected once or always, not {words[3]!r}")
    if not can_happen(stage, kind):
        raise _error(value, f"{stage} is no engine")
    return Fault(stage, kind, moment, words[3] == "always")


def _find(value: str, word: str, what: str, known: type[Word]) -> Word:
    names = [one.value for one in known]
    if word not in names:
        raise _error(value, f"no {what} {word!r}{list_choices(word, names)}")
    return known(word)


def _error(value: str, why: str) -> ProtocolError:
    return ProtocolError(f"custom parameter {PARAMETER}: {value[:80]!r}: {why}", code="protocol.fault")
