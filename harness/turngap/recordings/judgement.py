"""The verdict on a run from recordings: that of its gaps, if it is the same however the found ends lie. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from turngap.model.budget import Budget
from turngap.model.recorded import ENDS_BY_HAND, FROM_RECORDINGS
from turngap.model.result import Verdict
from turngap.model.turn import TurnRecord
from turngap.verdict import gate
from turngap.verdict.gate import Evidence, Judgement

_OF_CALLS = frozenset({"complete", "lateness", "foreign load", "stolen time", "spans"})
"""Checks of an instrument that places calls: nothing was placed here."""


def judge_recordings(
    turns: Sequence[TurnRecord], budget: Budget | None, *, uncertainty_ms: float | None, by_hand: bool
) -> Judgement:
    """Judge turns from recordings, all of them, once.

    PASS and FAIL must hold with every gap at its shortest and at its longest too; otherwise the verdict is NOT SHOWN.
    """
    evidence = make_evidence(turns, uncertainty_ms, by_hand=by_hand)
    judged = gate.judge_run(turns, evidence, budget)
    if budget is not None and not by_hand and judged.verdict in (Verdict.PASS, Verdict.FAIL):
        ends: tuple[Literal["gap_low_ms", "gap_high_ms"], ...] = ("gap_low_ms", "gap_high_ms")
        others = {gate.judge_run([move_gap(turn, end) for turn in turns], evidence, budget).verdict for end in ends}
        if others != {judged.verdict}:
            reason = (
                f"it is {judged.verdict.value} with ends of speech as found, and not with thresholds moved by 5 dB: "
                "the ends are not firm enough for it"
            )
            text = f"{budget.name} is not shown to hold or not: {reason}."
            judged = Judgement(Verdict.NOT_SHOWN, text, (reason, *judged.reasons), judged.checks)
    checks = tuple(check for check in judged.checks if check.ok is False or check.name not in _OF_CALLS)
    mark = ENDS_BY_HAND if by_hand else FROM_RECORDINGS
    return Judgement(judged.verdict, f"{judged.sentence} {mark}", judged.reasons, checks)


def make_evidence(turns: Sequence[TurnRecord], uncertainty_ms: float | None, *, by_hand: bool) -> Evidence:
    """Return what is known of a run in which nothing was called."""
    firm = "" if uncertainty_ms is None else f": moving their thresholds by 5 dB moves a gap by {uncertainty_ms:.0f} ms"
    text = "by hand, from label files" if by_hand else f"found in the recordings, not known{firm} (median, either way)"
    return Evidence(
        planned_turns=sum(turn.scored for turn in turns),
        complete=True,
        external_agent=True,
        lost_spans=None,
        recorded=text,
        ends_known=by_hand,
    )


def move_gap(turn: TurnRecord, end: Literal["gap_low_ms", "gap_high_ms"]) -> TurnRecord:
    """Return the turn with its gap at one of its ends."""
    gap_ms = None if turn.recorded is None else getattr(turn.recorded, end)
    if gap_ms is None or turn.turn_gap_ms is None or turn.perceived_gap_ms is None:
        return turn
    added_ms = turn.perceived_gap_ms - turn.turn_gap_ms
    return turn.model_copy(update={"turn_gap_ms": gap_ms, "perceived_gap_ms": gap_ms + added_ms})
