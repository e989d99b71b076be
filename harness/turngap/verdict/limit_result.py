"""What judging one limit of a budget leads to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LimitState(StrEnum):
    """What the turns show of one limit."""

    WITHIN = "within"
    """It is shown to be met."""
    OVER = "over"
    """It is shown to be missed."""
    NEITHER = "neither"
    """The turns do not suffice for either statement."""
    NOT_JUDGED = "not judged"
    """It was not measured, or can't be judged: `text` says why, `remedy` what to do."""


@dataclass(frozen=True, slots=True)
class LimitResult:
    """The result of judging one limit."""

    state: LimitState
    text: str
    remedy: str = ""
    """What to do about a limit that is not judged."""
    missing: int = 0
    """How many turns are missing for a verdict."""
    assumes: str = ""
    """What the statement rests on besides the turns."""
    needs_spans: bool = False
    """It can't be judged because the agent sends no spans at all: nothing that is heard can tell."""


def not_judged(text: str, remedy: str = "", missing: int = 0, *, needs_spans: bool = False) -> LimitResult:
    """Return the result of a limit that can't be judged, with the reason and what to do."""
    return LimitResult(LimitState.NOT_JUDGED, text, remedy, missing, needs_spans=needs_spans)
