"""A live run's figures and its sentence: diagnostic, whatever it measured. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from turngap.model.live import LegTimes, LiveSummary, RecordingCheck
from turngap.model.plural import plural
from turngap.model.result import Verdict
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict import gate, stats
from turngap.verdict.gate import Evidence, Judgement
from turngap.verdict.summary import good

NOT_THE_NETWORK = (
    "Both legs end at Twilio and may never touch the public telephone network: the loop has no handset, no radio and "
    "no carrier's delay in it."
)
NOT_THE_WAY = (
    "The media take the way from Twilio to this machine twice; an agent that is hosted elsewhere has another way."
)
ALONE = "Measured from the caller's leg alone: what lies between the legs is not told apart."
TRIAL = "A trial account: Twilio's own announcement is heard before the agent is."
SPOILT = "Every turn was spoilt by our own lateness: the medians are those of such turns."
FAKE = "Against the fake Twilio of this machine: no telephone rang, and its legs are made as they were asked for."


def judge(turns: Sequence[TurnRecord], evidence: Evidence) -> Judgement:
    """MEASURED where anything was, never PASS or FAIL: network and Twilio are not ours to hold still."""
    judged = gate.judge_run(turns, evidence, None)
    if judged.verdict is not Verdict.MEASURED:
        return judged
    scored = [turn for turn in turns if turn.scored]
    totals = [turn.live.total_ms for turn in scored if turn.live is not None and good(turn)]
    found = [value for value in totals if value is not None]
    needed = stats.n_needed(0)
    few = (
        f"; {plural(len(scored), 'turn carries', 'turns carry')} no verdict on p95, which needs {needed}"
        if len(scored) < needed
        else ""
    )
    answered = f"{len(found)} of {plural(len(scored), 'turn')} answered as they should be"
    middle = f"{np.median(found):.0f} ms mouth to ear (median), {answered}" if found else answered
    return Judgement(
        Verdict.MEASURED,
        f"Live, diagnostic, not judged: {middle}{few}.",
        (),
        judged.checks,
    )


def summarise(
    turns: Sequence[TurnRecord],
    *,
    calls: int,
    alone: bool,
    fake: bool,
    trial: bool | None,
    jitter_ms: Iterable[float | None],
    echoes: Sequence[LegTimes],
    witness: RecordingCheck | None,
    worst_case_usd: float | None,
) -> LiveSummary:
    """Medians over the answered turns, and what they are not."""
    known_turns = [turn for turn in turns if turn.scored and turn.live is not None]
    spoilt = not any(good(turn) for turn in known_turns)
    counted = [turn for turn in known_turns if good(turn) or (spoilt and turn.outcome is Outcome.INVALID)]
    legs = [turn.live for turn in counted if turn.live is not None]
    remarks = [FAKE] if fake else [NOT_THE_NETWORK, NOT_THE_WAY]
    remarks += [ALONE] if alone else []
    remarks += [TRIAL] if trial else []
    remarks += [SPOILT] if spoilt and legs else []
    known = [value for value in jitter_ms if value is not None]
    return LiveSummary(
        calls=calls,
        alone=alone,
        fake=fake,
        trial=trial,
        turns=len(legs),
        uplink_ms=median(legs, lambda one: one.uplink_ms),
        server_gap_ms=median(legs, lambda one: one.server_gap_ms),
        downlink_ms=median(legs, lambda one: one.downlink_ms),
        total_ms=median(legs, lambda one: one.total_ms),
        jitter_ms=max(known, default=None),
        floor=floor(echoes),
        witness=witness,
        worst_case_usd=worst_case_usd,
        remarks=tuple(remarks),
    )


def floor(echoes: Sequence[LegTimes]) -> LegTimes | None:
    """Medians of an echo's way through the loop."""
    if not echoes:
        return None
    return LegTimes(
        uplink_ms=median(echoes, lambda one: one.uplink_ms),
        server_gap_ms=median(echoes, lambda one: one.server_gap_ms),
        downlink_ms=median(echoes, lambda one: one.downlink_ms),
        total_ms=median(echoes, lambda one: one.total_ms),
    )


def median(legs: Sequence[LegTimes], of: Callable[[LegTimes], float | None]) -> float | None:
    """The median of what is known; None of nothing."""
    known = [value for one in legs if (value := of(one)) is not None]
    return round(float(np.median(known)), 3) if known else None
