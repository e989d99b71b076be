"""Endpointing: hear when the caller starts, and decide when the caller is done.

A call feeds each inbound frame to a `VoiceActivity` detector, and the voicings it returns to an `Endpointer`, which
decides what they mean: speech has started, the turn has ended provisionally (work may start, nothing may be heard), the
end is confirmed, or the caller resumed after all (`RESUMED`: the work since the provisional end is void). A policy that
needs to know whether the turn sounds complete returns `COMPLETION_ASKED`; the call queries the `TurnModel` and passes
its answer back, so policies stay pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

AudioF32 = npt.NDArray[np.float32]
"""Mono PCM, shape (n,), full scale ±1."""


class EventKind(StrEnum):
    """What an endpointer decides about the caller."""

    SPEECH_STARTED = "speech_started"
    COMPLETION_ASKED = "completion_asked"
    """Query the turn model how complete the turn sounds, on the audio up to now."""
    PROVISIONAL_END = "provisional_end"
    CONFIRMED_END = "confirmed_end"
    RESUMED = "resumed"


class ConfirmedBy(StrEnum):
    """What confirmed the end of a turn."""

    SILENCE = "silence"
    """Long enough that no other evidence was needed."""
    SMART_TURN = "smart_turn"
    """The turn sounded complete, so less silence was enough."""
    TURN_MODEL = "turn_model"
    """The turn model's probability asked for this much silence, at the profile's rate of cut-offs."""
    LIMIT = "limit"
    """The caller talked for as long as a turn may last."""


@dataclass(frozen=True, slots=True)
class EndpointEvent:
    """One decision. Sample positions count from the stream's first sample, at 8 kHz."""

    kind: EventKind
    at_sample: int
    """The position of the audio at the decision."""
    speech_start_sample: int
    """Where the utterance began, the detector's pre-roll included."""
    speech_end_sample: int
    """Where its last speech ended, as far as is known."""
    confirmed_by: ConfirmedBy | None = None
    """Set for a CONFIRMED_END."""


@dataclass(frozen=True, slots=True)
class Voicing:
    """A detector's judgement of one window of audio."""

    end_sample: int
    """The sample after the window."""
    probability: float
    """Of speech, 0-1."""
    level_dbfs: float = 0.0
    """Its RMS level re full scale."""


class VoiceActivity(Protocol):
    """One call's detector; it keeps state between windows."""

    async def push(self, pcm: npt.NDArray[np.int16]) -> list[Voicing]:
        """Take the next 8 kHz samples, shape (n,) for any n; return the windows that became complete."""
        ...


class VoiceActivityEngine(Protocol):
    """The loaded model, shared by calls."""

    def detector(self) -> VoiceActivity:
        """Return a fresh detector for one call."""
        ...

    async def warm_up(self) -> None:
        """Run once, so that no caller pays for the first use."""
        ...

    async def close(self) -> None:
        """Free threads and memory."""
        ...


class TurnModel(Protocol):
    """The loaded model that judges whether a turn is complete, shared by calls. It works off the event loop."""

    async def warm_up(self) -> None:
        """Run once, so that no caller pays for the first use."""
        ...

    async def completeness(self, audio: AudioF32) -> float:
        """Return the probability, 0-1, that the caller is done after `audio` (8 kHz, shape (n,)).

        Raises:
            EngineError: the engine failed; the turn then ends by silence.
        """
        ...

    async def close(self) -> None:
        """Free threads and memory."""
        ...


@dataclass(frozen=True, slots=True)
class Pause:
    """What is known of the caller's turn at a pause that may be its end."""

    audio: AudioF32
    """The turn so far, 8 kHz, shape (n,)."""
    words: str = ""
    """As transcribed; "" where none were recognised, or not in time."""
    sentence_end: float | None = None
    """The language model's probability, 0-1, that the sentence ends there; None where it was not asked, or failed."""
    question: str = ""
    """What the agent said last; "" at the start of a call."""


@runtime_checkable
class JudgesPauses(Protocol):
    """A turn model that takes the words of the turn too; it is asked as soon as they are known."""

    async def judge(self, pause: Pause) -> float:
        """Return the probability, 0-1, that the caller is done.

        Raises:
            EngineError: the engine failed; the turn then ends by silence.
        """
        ...


class Endpointer(Protocol):
    """One call's policy. Pure: it looks at voicings, answers and sample counts, never at a clock."""

    def push(self, voicing: Voicing) -> list[EndpointEvent]:
        """Take the next voicing; return the decisions, usually none."""
        ...

    def completion(self, at_sample: int, probability: float) -> list[EndpointEvent]:
        """Take the answer to the COMPLETION_ASKED of `at_sample`; return the decisions that follow.

        An answer that arrives after the caller resumed, or after the turn, changes nothing.
        """
        ...
