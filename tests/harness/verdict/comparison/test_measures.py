"""The measures of a comparison: a broken tail is found, no change is none, and "same" stays in reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from turngap.verdict.comparison.findings import Change, MeasureChange, combine, describe
from turngap.verdict.comparison.measures import Sample, compare_samples

N = 190
Floats = npt.NDArray[np.float64]


def make_sample(gap_ms: Floats, **changes: Floats) -> Sample:
    """A run with these gaps; one of +inf is a missed turn."""
    missed = np.isinf(gap_ms)
    outcomes = np.where(missed, "missed", "answered")
    words = np.full(len(gap_ms), 7.0)
    errors = np.where(missed, np.nan, 0.0)
    return replace(Sample(gap_ms, gap_ms, gap_ms, outcomes, errors, words), **changes)


def make_gaps(seed: int, n: int = N) -> tuple[Floats, Floats]:
    """Two runs of the same utterances: p95 about 531 ms, 25 ms between two turns of one utterance."""
    rng = np.random.default_rng(seed)
    between = 450 * rng.lognormal(0, 0.085, n)
    return between + rng.normal(0, 25, n), between + rng.normal(0, 25, n)


def by_name(measures: tuple[MeasureChange, ...]) -> dict[str, MeasureChange]:
    return {measure.name: measure for measure in measures}


@pytest.mark.parametrize("every", [4, 3])
def test_a_tail_is_found_and_named(every: int) -> None:
    """A quarter (a third) of the turns 300 ms later: slower in the tail, from p95 to p95 with the interval."""
    head, base = make_gaps(1)
    head = head + 300 * (np.arange(N) % every == 0)
    measures = compare_samples(make_sample(head), make_sample(base), paired=True)
    tail = by_name(measures)["turn_gap_p95_ms"]
    assert tail.change is Change.SLOWER
    assert tail.low is not None
    assert tail.difference is not None
    assert tail.high is not None
    assert 100 < tail.low < tail.difference < tail.high < 400
    assert by_name(measures)["slow_share"].change is Change.WORSE
    assert combine(measures) is Change.SLOWER
    assert f"slower in the tail: p95 {tail.base:.0f} → {tail.head:.0f} ms (+" in describe(measures)


def test_newly_unanswered_turns_are_worse() -> None:
    """Three tenths of them: named with both shares, although p95 of the answered turns did not change."""
    head, base = make_gaps(2)
    head = np.where(np.arange(N) % 10 < 3, np.inf, head)
    measures = by_name(compare_samples(make_sample(head), make_sample(base), paired=True))
    missed = measures["missed_share"]
    assert (missed.change, missed.head, missed.base) == (Change.WORSE, 57 / 190, 0.0)
    assert measures["turn_gap_p95_ms"].change is not Change.SLOWER
    assert combine(tuple(measures.values())).is_worse
    assert "worse: missed 0.0 % → 30.0 % (+" in describe(tuple(measures.values()))


def test_one_unanswered_turn_removes_nothing() -> None:
    """Same stays same, with an interval for every measure."""
    head, base = make_gaps(3)
    head[5] = np.inf
    measures = compare_samples(make_sample(head), make_sample(base), paired=True)
    assert combine(measures) is Change.SAME
    assert all(measure.low is not None and measure.high is not None for measure in measures)
    assert describe(measures).startswith("same: every measure is inside its tolerance (median ± 2")


def test_bad_outcomes_in_both_runs_can_be_the_same() -> None:
    """Four of 190 in either run, of other utterances: inside 5 points, so "same" is reached."""
    head, base = make_gaps(4)
    head[:4] = base[10:14] = np.inf
    assert combine(compare_samples(make_sample(head), make_sample(base), paired=True)) is Change.SAME


def test_faster_needs_outcomes_that_are_not_worse() -> None:
    """A tenth faster with 4 % newly missed is ambiguous, and the sentence names both; else it is faster."""
    head, base = make_gaps(4)
    head = 0.9 * head
    missed = np.where(np.arange(N) % 25 == 0, np.inf, head)
    measures = compare_samples(make_sample(missed), make_sample(base), paired=True)
    assert by_name(measures)["turn_gap_p50_ms"].change is Change.FASTER
    assert combine(measures) is Change.AMBIGUOUS
    assert describe(measures).startswith("ambiguous: faster: median ")
    assert "but a worse share is not excluded: " in describe(measures)
    assert "missed +" in describe(measures)
    assert combine(compare_samples(make_sample(head), make_sample(base), paired=True)) is Change.FASTER


def test_fewer_bad_outcomes_do_not_hide_that_it_is_faster() -> None:
    """The share may be better by more than the tolerance, without being shown to be: faster, and nothing is excused."""
    head, base = make_gaps(4)
    base = np.where(np.arange(N) % 38 == 0, np.inf, base)
    measures = compare_samples(make_sample(0.9 * head), make_sample(base), paired=True)
    assert by_name(measures)["missed_share"].change is Change.AMBIGUOUS
    assert combine(measures) is Change.FASTER
    assert "; ambiguous: " in describe(measures)
    assert "missed" in describe(measures).split("; ambiguous: ")[1]


def test_three_percent_newly_missed_are_not_the_same() -> None:
    """Six of 190, where the baseline missed none: no finding, and not shown to be inside the tolerance either."""
    head, base = make_gaps(3)
    head[:6] = np.inf
    measures = compare_samples(make_sample(head), make_sample(base), paired=True)
    assert by_name(measures)["missed_share"].change is Change.AMBIGUOUS
    assert combine(measures) is Change.AMBIGUOUS


def test_a_finding_names_what_is_ambiguous() -> None:
    """A slower run whose missed turns are open says both."""
    head, base = make_gaps(3)
    head = head * 1.15
    head[:6] = np.inf
    measures = compare_samples(make_sample(head), make_sample(base), paired=True)
    assert combine(measures) is Change.SLOWER
    assert "missed" in describe(measures).split("; ambiguous: ")[1]


def test_a_limit_amid_the_gaps_is_no_finding() -> None:
    """Two runs 15 ms apart around a budget's limit have other shares over it, but no turn is 5 % later."""
    head, base = make_gaps(5)
    head = head + 15
    measures = by_name(compare_samples(make_sample(head), make_sample(base), paired=True, limit_ms=450.0))
    assert measures["slow_share"].label == "turns over 450 ms"
    assert (measures["slow_share"].difference or 0.0) > 0.05
    assert measures["slow_share"].change is Change.SAME


def test_words_are_compared_by_utterance() -> None:
    """A loop in a tenth of the utterances is worse; without transcripts there is no such measure."""
    head, base = make_gaps(6)
    loops = np.where(np.arange(N) % 10 == 0, 20.0, 0.0)
    measures = compare_samples(make_sample(head, word_errors=loops), make_sample(base), paired=True)
    assert by_name(measures)["wer"].change is Change.WORSE
    assert "worse: word error rate 0.0 % → 28.6 % (+" in describe(measures)
    none = np.full(N, np.nan)
    without = compare_samples(make_sample(head, word_errors=none), make_sample(base, word_errors=none), paired=True)
    assert "wer" not in by_name(without)


def test_the_time_to_substance_is_a_measure_where_it_is_another() -> None:
    """An answer behind a filler is slower, although the gap is not; where it is not known it is no measure."""
    head, base = make_gaps(7)
    late = make_sample(head, substance_ms=head + 600)
    found = by_name(compare_samples(late, make_sample(base), paired=True))
    assert found["turn_gap_p50_ms"].change is Change.SAME
    assert found["substance_gap_p50_ms"].change is found["substance_gap_p95_ms"].change is Change.SLOWER
    names = by_name(compare_samples(make_sample(head), make_sample(base), paired=True))
    assert not any(name.startswith("substance") for name in names)
    unknown = make_sample(head, substance_ms=np.full(N, np.nan))
    assert not any(
        name.startswith("substance") for name in by_name(compare_samples(unknown, make_sample(base), paired=True))
    )


@pytest.mark.parametrize("paired", [True, False])
def test_the_mirror_image_is_the_opposite(paired: bool) -> None:
    """What is worse from base to head is better from head to base."""
    head, base = make_gaps(8)
    head = np.where(np.arange(N) % 4 == 0, np.inf, head + 60)
    forth = by_name(compare_samples(make_sample(head), make_sample(base), paired=paired))
    back = by_name(compare_samples(make_sample(base), make_sample(head), paired=paired))
    assert forth["turn_gap_p50_ms"].change is Change.SLOWER
    assert back["turn_gap_p50_ms"].change is Change.FASTER
    assert forth["missed_share"].change is Change.WORSE
    assert back["missed_share"].change is Change.BETTER


def test_few_turns_have_no_tail() -> None:
    """p95 of 30 turns hangs on three of both runs: too few, as any finding of six pairs is."""
    head, base = make_gaps(9, 30)
    measures = by_name(compare_samples(make_sample(head), make_sample(base), paired=True))
    assert measures["turn_gap_p95_ms"].change is Change.TOO_FEW
    assert measures["turn_gap_p50_ms"].change in (Change.SAME, Change.AMBIGUOUS)
    assert combine(tuple(measures.values())) is Change.AMBIGUOUS
    few = compare_samples(make_sample(head[:6] + 300), make_sample(base[:6]), paired=True)
    assert combine(few) is Change.TOO_FEW
    assert describe(few) == "too few turns to find a difference"


def test_a_base_without_answers_is_better_and_nothing_breaks() -> None:
    """Its median and p95 are none; the reverse is worse."""
    head, _ = make_gaps(10)
    silent = make_sample(np.full(N, np.inf))
    for paired in (True, False):
        assert combine(compare_samples(make_sample(head), silent, paired=paired)).is_better
        assert combine(compare_samples(silent, make_sample(head), paired=paired)).is_worse
        assert not combine(compare_samples(silent, silent, paired=paired)).is_worse
