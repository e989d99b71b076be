"""Centre, tail, shares and words of two runs: each measure's change, its tests and its finding. Pure.

It works on arrays of one value a turn, of pairs in the same order: `Sample`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from turngap.model.turn import GOOD, Outcome
from turngap.verdict.comparison import exact
from turngap.verdict.comparison.exact import NOTHING, Bools, Interval, Tail
from turngap.verdict.comparison.findings import ALPHA, Change, MeasureChange, decide
from turngap.verdict.comparison.medians import (
    LEAST_PAIRS,
    TOLERANCE,
    default_tolerance_ms,
    finite_or_largest,
    known,
    measure_median,
    quantile,
)
from turngap.verdict.comparison.words import compare_words, hidden_share
from turngap.verdict.stats import Floats

TAIL = 0.95
TAIL_TOLERANCE = 0.10
"""Of the base's p95: a change by less counts as none."""
SHARE_TOLERANCE = 0.05
"""Of all turns: 5 percentage points. With 190 pairs, 4 bad outcomes in each run are known to 3.4 points."""
OUTCOME_TOLERANCE = 0.045
"""Of all turns, for each single outcome: 4.5 points. It is rarer than all bad ones together, so less may hide in it."""
WORD_TOLERANCE = 0.03
"""Of all words: 3 percentage points."""
SLOW = 1.5
"""Without a budget, turns are slow from this multiple of the median of all answered turns of both runs on."""
BAD = tuple(outcome for outcome in Outcome if outcome not in GOOD and outcome is not Outcome.INVALID)


@dataclass(frozen=True, slots=True)
class Sample:
    """The valid turns of one run, one value a turn; nan where a turn has none, +inf where it was not answered."""

    gap_ms: Floats
    substance_ms: Floats
    limited_ms: Floats
    """What the budget limits, to be compared with its limit."""
    outcomes: npt.NDArray[np.str_]
    word_errors: Floats
    words: Floats


class Candidate(NamedTuple):
    """A measure before its finding."""

    measure: MeasureChange
    worse: Tail
    better: Tail
    least_change: float
    """What a finding has to exceed as measured, beside its test."""
    is_same: bool
    """Whether the change is shown to be inside the tolerance."""


def compare_samples(
    head: Sample, base: Sample, *, paired: bool, limit_ms: float | None = None, alpha: float = ALPHA
) -> tuple[MeasureChange, ...]:
    """Compare two runs in every measure that they have; the findings are adjusted for the number of measures."""
    rows = [*_latencies("turn_gap", "", head.gap_ms, base.gap_ms, paired=paired)]
    if _is_another_time(head, base):
        rows += _latencies("substance_gap", " to substance", head.substance_ms, base.substance_ms, paired=paired)
    rows += _slow_turns(head.limited_ms, base.limited_ms, limit_ms, paired=paired)
    rows += _outcomes(head.outcomes, base.outcomes, paired=paired)
    rows += _words(head, base, paired=paired)
    judged = [row for row in rows if row.measure.change is not Change.TOO_FEW]
    worse = exact.adjust([row.worse for row in judged], alpha)
    better = exact.adjust([row.better for row in judged], alpha)
    found = {
        row.measure.name: decide(row.measure, p_worse, p_better, row.least_change, row.is_same, alpha)
        for row, p_worse, p_better in zip(judged, worse, better, strict=True)
    }
    return tuple(found.get(row.measure.name, row.measure) for row in rows)


def _present(head: Floats, base: Floats, *, paired: bool) -> tuple[Floats, Floats]:
    """Return the values of turns that have one, of pairs of those that both have one."""
    has, had = ~np.isnan(head), ~np.isnan(base)
    if paired:
        has = had = has & had
    return head[has], base[had]


def _is_another_time(head: Sample, base: Sample) -> bool:
    """Return whether the time to substance is known in both runs and differs from the turn gap in one of them."""
    runs = (head, base)
    known_in_all = all(np.isnan(run.substance_ms).sum() == np.isnan(run.gap_ms).sum() for run in runs)
    return known_in_all and not all(np.array_equal(run.substance_ms, run.gap_ms, equal_nan=True) for run in runs)


def _latencies(name: str, label: str, head: Floats, base: Floats, *, paired: bool) -> Iterable[Candidate]:
    head, base = _present(head, base, paired=paired)
    if not len(head) or not len(base):
        return
    yield _centre(f"{name}_p50_ms", f"median{label}", head, base, paired=paired)
    if not paired or (np.isfinite(head) & np.isfinite(base)).any():
        yield _tail(f"{name}_p95_ms", f"p95{label}", head, base, paired=paired)


def _centre(name: str, label: str, head: Floats, base: Floats, *, paired: bool) -> Candidate:
    old = quantile(base, 0.5)
    tolerance_ms = default_tolerance_ms(base.tolist())
    change, slower, faster = measure_median(head, base, tolerance_ms, paired=paired)
    measure = MeasureChange(
        name,
        label,
        "centre",
        paired,
        len(head),
        len(base),
        known(quantile(head, 0.5)),
        known(old),
        change.median_change_ms,
        change.low_ms,
        change.high_ms,
        tolerance_ms,
        1.0,
        1.0,
        change.change,
    )
    return Candidate(measure, slower, faster, tolerance_ms, measure.is_within_tolerance)


def _tail(name: str, label: str, head: Floats, base: Floats, *, paired: bool) -> Candidate:
    """Compare p95 by the turns over the p95 of both runs together, one of them shifted by the tolerance.

    Pairs: of those that both runs answered. An utterance that one of them did not answer is in the shares, and with it
    in the tail too a few of them would hide whether the others became slower. Two samples: unanswered turns rank last,
    for without pairs an agent that answers late what it used to miss would seem slower.
    """
    if paired:
        both = np.isfinite(head) & np.isfinite(base)
        head, base = head[both], base[both]
    new, old = quantile(head, TAIL), quantile(base, TAIL)
    tolerance_ms = TAIL_TOLERANCE * finite_or_largest(old, base)
    enough = (1 - TAIL) * (len(head) + len(base)) >= LEAST_PAIRS - 1e-9 and min(len(head), len(base)) >= LEAST_PAIRS
    low = high = math.nan
    worse = better = NOTHING
    if enough:
        worse = exact.compare_quantiles(head, base, TAIL, tolerance_ms, paired=paired)
        better = exact.compare_quantiles(base, head, TAIL, tolerance_ms, paired=paired)
        low, high = exact.quantile_interval(head, base, TAIL, paired=paired)
    moved = new - old if math.isfinite(new) and math.isfinite(old) else math.nan
    if math.isfinite(moved):
        low, high = min(low, moved), max(high, moved)
    measure = MeasureChange(
        name,
        label,
        "tail",
        paired,
        len(head),
        len(base),
        known(new),
        known(old),
        known(moved),
        known(low),
        known(high),
        tolerance_ms,
        1.0,
        1.0,
        Change.AMBIGUOUS if enough else Change.TOO_FEW,
    )
    return Candidate(measure, worse, better, tolerance_ms, measure.is_within_tolerance)


def _slow_turns(head: Floats, base: Floats, limit_ms: float | None, *, paired: bool) -> Iterable[Candidate]:
    """Compare the shares of turns over the budget's limit, or over 1.5 times the median of both runs together.

    A turn of one run is over the limit more than one of the other only if it is over it by the tolerance of the median
    too: two runs whose gaps lie around the limit, a few milliseconds apart, have different shares. So in the tests, and
    in what shows that the shares are the same; the interval is that of the plain difference.
    """
    head, base = _present(head, base, paired=paired)
    if not len(head) or not len(base):
        return
    if limit_ms is None:
        both = np.concatenate([head, base])
        if not np.isfinite(both).any():
            return
        limit = SLOW * float(np.median(both[np.isfinite(both)]))
    else:
        limit = limit_ms
    later = limit * (1 + TOLERANCE)
    row = _share("slow_share", f"turns over {limit:.0f} ms", head > limit, base > limit, paired=paired)
    if row.measure.change is not Change.TOO_FEW:
        more, fewer = (head > later, base > limit), (base > later, head > limit)
        row = row._replace(
            worse=exact.compare_events(*more, paired=paired),
            better=exact.compare_events(*fewer, paired=paired),
            is_same=max(_share_interval(*side, paired=paired)[1] for side in (more, fewer)) <= SHARE_TOLERANCE,
        )
    yield row


def _outcomes(head: npt.NDArray[np.str_], base: npt.NDArray[np.str_], *, paired: bool) -> Iterable[Candidate]:
    """Compare the share of bad outcomes, then of each that one of the runs has."""
    if not len(head) or not len(base):
        return
    yield _share("bad_share", "bad outcomes", np.isin(head, BAD), np.isin(base, BAD), paired=paired)
    for outcome in BAD:
        events = head == outcome.value, base == outcome.value
        if events[0].any() or events[1].any():
            name, label = f"{outcome.value}_share", outcome.value.replace("_", " ")
            yield _share(name, label, *events, paired=paired, tolerance=OUTCOME_TOLERANCE)


def _share(
    name: str, label: str, head: Bools, base: Bools, *, paired: bool, tolerance: float = SHARE_TOLERANCE
) -> Candidate:
    enough = min(len(head), len(base)) >= LEAST_PAIRS
    interval: Interval = (math.nan, math.nan)
    worse = better = NOTHING
    if enough:
        worse, better = exact.compare_events(head, base, paired=paired), exact.compare_events(base, head, paired=paired)
        interval = _share_interval(head, base, paired=paired)
    new, old = float(head.mean()), float(base.mean())
    measure = MeasureChange(
        name,
        label,
        "share",
        paired,
        len(head),
        len(base),
        new,
        old,
        new - old,
        known(interval[0]),
        known(interval[1]),
        tolerance,
        1.0,
        1.0,
        Change.AMBIGUOUS if enough else Change.TOO_FEW,
    )
    return Candidate(measure, worse, better, 0.0, measure.is_within_tolerance)


def _share_interval(head: Bools, base: Bools, *, paired: bool) -> Interval:
    more, fewer = (head & ~base, base & ~head) if paired else (head, base)
    return exact.share_interval(int(more.sum()), len(head), int(fewer.sum()), len(base))


def _words(head: Sample, base: Sample, *, paired: bool) -> Iterable[Candidate]:
    """Compare the word error rates over turns with a transcript."""
    new, old = ((run.word_errors, run.words) for run in (head, base))
    present = [~np.isnan(errors) & (words > 0) for errors, words in (new, old)]
    if paired:
        present = [present[0] & present[1]] * 2
    (errors, words), (old_errors, old_words) = (
        (side[0][here].astype(np.int64), side[1][here].astype(np.int64))
        for side, here in zip((new, old), present, strict=True)
    )
    if not len(errors) or not len(old_errors):
        return
    enough = min(len(errors), len(old_errors)) >= LEAST_PAIRS
    rates = float(errors.sum() / words.sum()), float(old_errors.sum() / old_words.sum())
    measure = MeasureChange(
        "wer",
        "word error rate",
        "words",
        paired,
        len(errors),
        len(old_errors),
        rates[0],
        rates[1],
        rates[0] - rates[1],
        None,
        None,
        WORD_TOLERANCE,
        1.0,
        1.0,
        Change.AMBIGUOUS if enough else Change.TOO_FEW,
    )
    if not enough:
        yield Candidate(measure, NOTHING, NOTHING, 0.0, is_same=False)
        return
    worse, better, (low, high) = compare_words(errors, words, old_errors, old_words, paired=paired)
    measure = replace(measure, low=low, high=high)
    shown = measure.is_within_tolerance and hidden_share(len(errors), len(old_errors)) <= WORD_TOLERANCE
    yield Candidate(measure, worse, better, 0.0, shown)
