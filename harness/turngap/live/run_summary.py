"""The summary of a live run and its verdict, which is diagnostic whatever was measured. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from turngap.model.live import LegTimes, LiveSummary, RecordingFigures
from turngap.model.plural import plural
from turngap.model.result import Verdict
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict import gate, stats
from turngap.verdict.gate import Evidence, Judgement

NOT_THE_NETWORK = (
    "Both legs end at Twilio and may never touch the public telephone network: the loop has no handset, no radio and "
    "no carrier's delay in it."
)
NOT_THE_ROUTE = (
    "The audio travels between Twilio and this machine twice; an agent that is hosted elsewhere has another route."
)
CALLER_LEG_ONLY = "Measured on the caller's leg only: the times between the legs are not known."
TRIAL = "A trial account: Twilio plays its own announcement before the agent can be heard."
ALL_LATE = "The instrument itself was late in every turn: the medians are those of such turns."
FAKE = "Measured against the fake Twilio on this machine: no telephone rang, and the delays of its legs are set."


def judge_live_run(turns: Sequence[TurnRecord], evidence: Evidence) -> Judgement:
    """Return MEASURED if anything was measured, never PASS or FAIL: nobody can hold Twilio and the network still."""
    judged = gate.judge_run(turns, evidence, None)
    if judged.verdict is not Verdict.MEASURED:
        return judged
    scored = [turn for turn in turns if turn.scored]
    totals = [turn.live.total_ms for turn in scored if turn.live is not None and turn.is_good]
    known_ms = [value for value in totals if value is not None]
    needed = stats.n_needed(0)
    too_few = (
        f"; {plural(len(scored), 'turn')} of the {needed} that a bound on p95 needs" if len(scored) < needed else ""
    )
    answered = f"{len(known_ms)} of {plural(len(scored), 'turn')} answered as expected"
    median_text = f"{np.median(known_ms):.0f} ms mouth to ear (median), {answered}" if known_ms else answered
    return Judgement(
        Verdict.MEASURED,
        f"Live, diagnostic, not judged: {median_text}{too_few}.",
        (),
        judged.checks,
    )


def summarise_live_run(
    turns: Sequence[TurnRecord],
    *,
    calls: int,
    alone: bool,
    fake: bool,
    trial: bool | None,
    jitter_ms: Iterable[float | None],
    echoes: Sequence[LegTimes],
    witness: RecordingFigures | None,
    worst_case_usd: float | None,
) -> LiveSummary:
    """Return the medians over the answered turns, and remarks on what they do not show.

    If the instrument was late in every turn, the medians are those of the late turns.
    """
    live_turns = [turn for turn in turns if turn.scored and turn.live is not None]
    all_late = not any(turn.is_good for turn in live_turns)
    counted = [turn for turn in live_turns if turn.is_good or (all_late and turn.outcome is Outcome.INVALID)]
    legs = [turn.live for turn in counted if turn.live is not None]
    remarks = [FAKE] if fake else [NOT_THE_NETWORK, NOT_THE_ROUTE]
    remarks += [CALLER_LEG_ONLY] if alone else []
    remarks += [TRIAL] if trial else []
    remarks += [ALL_LATE] if all_late and legs else []
    medians = _medians(legs)
    return LiveSummary(
        calls=calls,
        alone=alone,
        fake=fake,
        trial=trial,
        turns=len(legs),
        uplink_ms=medians.uplink_ms,
        server_gap_ms=medians.server_gap_ms,
        downlink_ms=medians.downlink_ms,
        total_ms=medians.total_ms,
        jitter_ms=max((value for value in jitter_ms if value is not None), default=None),
        floor=_medians(echoes) if echoes else None,
        witness=witness,
        worst_case_usd=worst_case_usd,
        remarks=tuple(remarks),
    )


def _medians(legs: Sequence[LegTimes]) -> LegTimes:
    return LegTimes(
        uplink_ms=_median(times.uplink_ms for times in legs),
        server_gap_ms=_median(times.server_gap_ms for times in legs),
        downlink_ms=_median(times.downlink_ms for times in legs),
        total_ms=_median(times.total_ms for times in legs),
    )


def _median(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return round(float(np.median(present)), 3) if present else None
