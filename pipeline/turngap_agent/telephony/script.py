"""The script of a call for an agent with random weights, carried in the stream's custom parameters.

One parameter for each turn to be answered, `turn-0`, `turn-1`, …: the reply's length in tokens, and the words of the
transcription, as in "14 Are you open on Sunday?". An agent whose weights are not random ignores them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from turngap_agent.errors import ProtocolError

MAX_REPLY_TOKENS = 512
_NAME = re.compile(r"turn-(0|[1-9]\d{0,5})")
_VALUE = re.compile(r"(?P<tokens>[1-9]\d{0,5}) (?P<words>.*\S.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TurnScript:
    """One turn's words and the length of its reply."""

    words: str
    """The words of the transcription; never empty."""
    reply_tokens: int
    """1 to `MAX_REPLY_TOKENS`."""


def format_parameters(turns: Sequence[TurnScript]) -> dict[str, str]:
    """Return the custom parameters that carry `turns`, in their order."""
    return {f"turn-{index}": f"{turn.reply_tokens} {turn.words}" for index, turn in enumerate(turns)}


def parse_parameters(custom_parameters: Mapping[str, str]) -> tuple[TurnScript, ...]:
    """Return the turns in a stream's custom parameters, () if there are none; other parameters are ignored.

    Raises:
        ProtocolError: (`protocol.script`) one is malformed, or one is missing between others.
    """
    turns: dict[int, TurnScript] = {}
    for name, value in custom_parameters.items():
        if (index := _NAME.fullmatch(name)) is None:
            continue
        parts = _VALUE.fullmatch(value)
        if parts is None or int(parts["tokens"]) > MAX_REPLY_TOKENS:
            raise ProtocolError(
                f"custom parameter {name}: {value[:40]!r} is not '1-{MAX_REPLY_TOKENS} words'", code="protocol.script"
            )
        turns[int(index[1])] = TurnScript(parts["words"].strip(), int(parts["tokens"]))
    if sorted(turns) != list(range(len(turns))):
        names = ", ".join(f"turn-{number}" for number in sorted(turns))
        raise ProtocolError(
            f"custom parameters {names}: numbers must start at 0, without a gap",
            code="protocol.script",
        )
    return tuple(turns[number] for number in range(len(turns)))
