"""What is known of one caller while a run's calls are placed, and its figures afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from turngap.calibration.calibrate import Calibration
from turngap.calibration.sentinel import Sentinel
from turngap.caller.lateness import summarise_lateness
from turngap.cluster.callers import Caller
from turngap.cluster.messages import FromCaller
from turngap.cluster.shares import CallerLog
from turngap.model.callers import CallerFigures
from turngap.session.scoring_process import ScoredCall


@dataclass(slots=True)
class CallerState:
    """One caller, and what it has done in this session."""

    caller: Caller
    messages: AsyncIterator[FromCaller]
    log: CallerLog = field(default_factory=lambda: CallerLog({}))
    sentinel: Sentinel | None = None
    """None until it is ready: its clock has no name before."""
    calibration: Calibration | None = None
    priority: str = ""
    scored: list[ScoredCall] = field(default_factory=list)
    lost: str = ""
    lost_calls: tuple[int, ...] = ()
    starts_ns: dict[int, int] = field(default_factory=dict)
    """By call of an open-loop load: its planned start, after the beginning."""


def select_worst_calibration(calibrations: Sequence[Calibration]) -> Calibration | None:
    """Return the calibration with the largest bias: a run is no better than its worst caller."""
    return max(calibrations, key=lambda one: abs(one.bias_ms or 0.0), default=None)


def summarise_caller(state: CallerState) -> CallerFigures:
    """Return the figures of a caller that had a share."""
    turns = [turn for call in state.scored for turn in call.turns]
    errors = state.sentinel.errors(turns) if state.sentinel is not None else None
    return CallerFigures(
        name=state.caller.name,
        place=state.caller.place,
        calls=len(state.scored),
        turns=sum(turn.scored for turn in turns),
        priority=state.priority,
        calibration_bias_ms=state.calibration.bias_ms if state.calibration is not None else None,
        sentinel_p99_ms=errors.p99_abs_ms if errors is not None else None,
        send=summarise_lateness([call.send_late_ms for call in state.scored]),
        receive=summarise_lateness([call.recv_late_ms for call in state.scored]),
        lost=state.lost,
        lost_calls=state.lost_calls,
    )
