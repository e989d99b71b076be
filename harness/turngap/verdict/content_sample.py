"""Whether the texts of the agent's clauses are what was heard: a sample of its replies against their transcripts. Pure.

An agent reports its own clauses. One that reports other words than it says, or content where it says "um", would decide
its own time to substance.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from turngap.model.plural import plural
from turngap.model.result import Check
from turngap.model.turn import Outcome, TurnRecord

SAMPLE = 20
"""So many replies are transcribed: one or two seconds each on a busy machine."""
MAX_DIFFERING = 0.1
"""Share of the sample that may differ: the recogniser errs too; one reply always may."""


@dataclass(frozen=True, slots=True)
class ContentSample:
    """The replies of a run that were compared."""

    replies: int
    differing: int = 0
    first: str = ""
    """The first that differs, and how."""
    skipped: str = ""
    """Why none was compared."""


def select_sample(turns: Sequence[TurnRecord], seed: str) -> list[TurnRecord]:
    """Return up to `SAMPLE` turns whose content the spans place without a doubt; the same ones for the same `seed`."""
    sure = [
        turn
        for turn in turns
        if turn.scored
        and turn.outcome is not Outcome.INVALID
        and turn.substance_from == "spans"
        and turn.substance_gap_ms is not None
        and not turn.substance_note
    ]
    sure.sort(key=lambda turn: (turn.call, turn.turn))
    return random.Random(seed).sample(sure, min(SAMPLE, len(sure)))


def check_content(sample: ContentSample) -> Check:
    """Return whether the clauses' texts may be believed; None where nothing was compared."""
    if sample.skipped or not sample.replies:
        text = f"the texts of the agent's clauses were not compared with what was heard: {sample.skipped or 'no reply'}"
        return Check(name="content", ok=None, text=text)
    replies = plural(sample.replies, "reply", "replies")
    if sample.differing > max(1.0, MAX_DIFFERING * sample.replies):
        text = (
            f"{sample.differing} of {replies} did not say what the agent's clauses report ({sample.first}): "
            "correct the clause spans, or send none"
        )
        return Check(name="content", ok=False, text=text)
    text = f"{sample.replies - sample.differing} of {replies} said what the agent's clauses report, when they report it"
    return Check(name="content", ok=True, text=text)
