"""What a call's turns are to say where the agent's weights are random: carried to it in the stream's custom parameters.

A parameter a turn that is to be answered, `turn-0`, `turn-1`, …: the reply's length in tokens, and the words that the
transcription is to have, as in "14 Are you open on Sunday?". An agent whose weights are not random ignores them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from turngap_agent.errors import ProtocolError

MOST_REPLY_TOKENS = 512
_NAME = re.compile(r"turn-(0|[1-9]\d{0,5})")
_VALUE = re.compile(r"(?P<tokens>[1-9]\d{0,5}) (?P<words>.*\S.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TurnScript:
    """One turn's words and the length of its reply."""

    words: str
    """What the transcription is to have; never empty."""
    reply_tokens: int
    """1 to `MOST_REPLY_TOKENS`."""


def parameters(turns: Sequence[TurnScript]) -> dict[str, str]:
    """The custom parameters that carry `turns`, in their order."""
    return {f"turn-{index}": f"{turn.reply_tokens} {turn.words}" for index, turn in enumerate(turns)}


def read(custom_parameters: Mapping[str, str]) -> tuple[TurnScript, ...]:
    """The turns in a stream's custom parameters, other ones ignored; () where there are none.

    Raises:
        ProtocolError: one is malformed, or one is missing between others.
    """
    found: dict[int, TurnScript] = {}
    for name, value in custom_parameters.items():
        if (named := _NAME.fullmatch(name)) is None:
            continue
        told = _VALUE.fullmatch(value)
        if told is None or int(told["tokens"]) > MOST_REPLY_TOKENS:
            raise ProtocolError(f"custom parameter {name}: {value[:40]!r} is not '1-{MOST_REPLY_TOKENS} words'")
        found[int(named[1])] = TurnScript(told["words"].strip(), int(told["tokens"]))
    if sorted(found) != list(range(len(found))):
        raise ProtocolError(
            f"custom parameters {', '.join(f'turn-{index}' for index in sorted(found))}: one is missing"
        )
    return tuple(found[index] for index in range(len(found)))
