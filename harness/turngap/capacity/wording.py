"""The sentences of a capacity run. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from turngap.capacity.arrivals import Load
from turngap.capacity.folder import CapacityRecord
from turngap.capacity.points import Decision, PointRecord
from turngap.capacity.search import Answer
from turngap.model.plural import plural
from turngap.report.wording import join_words, ms


def describe_point(load: Load, call_s: float, turns: int) -> str:
    """Return what a point is about to do."""
    return f"{load}: {plural(turns, 'turn')}, calls of {call_s:.1f} s as planned"


def describe_stop(point: PointRecord, left: Sequence[Load]) -> str:
    """Return why higher loads are not tried."""
    signs = "; ".join(f"{sign.kind}: {sign.text}" for sign in point.signs)
    loads = join_words([str(load) for load in left])
    return f"stopped at {point.name}, which saturates the agent ({signs}): not tried: {loads}"


def describe_result(record: CapacityRecord) -> str:
    """Return the result in one sentence or two."""
    parts = [_describe_answer(record, record.answer)] if record.answer is not None else []
    knee = record.knee
    unit = "calls a second" if record.by_rate else "calls at once"
    if knee is not None and knee.next_load is not None:
        between = f"between {knee.load:g} and {knee.next_load:g} {unit}"
        parts.append(f"The knee lies {between}; at {knee.load:g} p95 is {ms(knee.p95_ms)} ms.")
    elif knee is not None and record.answer is None:
        parts.append(f"No knee up to {knee.load:g} {unit}: p95 {ms(knee.p95_ms)} ms.")
    held = [point for point in record.points if point.decision is Decision.HOLDS]
    if record.answer is None and record.judged and record.budget is not None:
        most = max((point.load for point in held), default=None)
        name = record.budget.name
        parts.insert(0, _describe_held(record, most, unit) if most is not None else f"No load is shown to hold {name}.")
    parts += [_describe_invalid(point) for point in record.points if not point.is_valid]
    if not parts and record.points:
        last = record.points[-1]
        parts.append(f"{last.name}: p95 {ms(last.gap_ms.p95)} ms of {plural(last.n_turns, 'turn')}.")
    return " ".join(parts) or "Nothing was measured."


def _describe_answer(record: CapacityRecord, answer: Answer) -> str:
    """Return what a search found, and how many calls that load really brought: its lines are not busy all the time."""
    held = [point for point in record.points if point.load == answer.calls and point.decision is Decision.HOLDS]
    if not held:
        return answer.sentence
    under_way = held[-1].under_way
    return f"{answer.sentence} At that load {under_way.mean:.1f} were under way in the mean, {under_way.peak} at most."


def _describe_held(record: CapacityRecord, most: float, unit: str) -> str:
    """Return the highest load that holds the budget, and the lowest below it that does not, if there is one."""
    assert record.budget is not None
    failed = [point.load for point in record.points if point.decision is Decision.DOES_NOT_HOLD and point.load < most]
    if not failed:
        return f"{record.budget.name} is shown to hold up to {most:g} {unit}."
    return f"{record.budget.name} is shown to hold with {most:g} {unit}, and not to hold with {min(failed):g}."


def _describe_invalid(point: PointRecord) -> str:
    reasons = point.caller.reasons
    return f"{point.name}: INVALID, {reasons[0]}." if reasons else f"{point.name}: {point.sentence}"


def describe_caller(point: PointRecord) -> str:
    """Return in a few words how punctual the caller was."""
    caller = point.caller
    parts = []
    if caller.send_p99_ms is not None:
        parts.append(f"frames late by {ms(caller.send_p99_ms)} ms (p99)")
    if caller.sentinel_over_share is not None:
        parts.append(f"sentinel off by over 5 ms in {caller.sentinel_over_share:.0%} of {caller.sentinel_answers}")
    if caller.busiest_core_share is not None:
        of = "" if caller.processes == 1 else f" (busiest of {caller.processes} processes)"
        parts.append(f"{caller.busiest_core_share:.0%} of a core{of}")
    return ", ".join(parts) or "not measured"
