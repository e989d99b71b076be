"""Operating points as eot-bench defines them, and the figures beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from turngap_agent.errors import UsageError
from turngap_agent.profile.pace import PauseLengths

from benchmarks.turn_taking import chart
from benchmarks.turn_taking import operating_points as points
from benchmarks.turn_taking.decisions import PauseOutcome, TurnOutcome
from benchmarks.turn_taking.figures import clustered_share, make_figures
from benchmarks.turn_taking.operating_points import ScoredPause

HOLDS = [ScoredPause(float(ms), 0.2) for ms in (250, 300, 350, 400, 450, 500, 600, 700, 900, 1500)]
ENDS = [ScoredPause(None, 0.9)] * 5


def test_a_detector_that_knows_waits_for_nothing() -> None:
    """Scores that separate pauses from ends: every end is answered at once, and no pause but those past the timeout."""
    best = points.best_delay(points.sweep_thresholds([*HOLDS, *ENDS]), 0.0)
    assert best is not None
    assert (best.mean_delay_ms, best.cut_off_rate) == (200, 0)


def test_one_that_knows_nothing_waits_as_long_as_the_pauses() -> None:
    """Of ten pauses one may be cut off at 10 %: silence must outlast the second longest, and at 5 % the longest."""
    silent = points.sweep_silences([*HOLDS, *ENDS])
    at_10, at_5 = points.best_delay(silent, 0.10), points.best_delay(silent, 0.05)
    assert at_10 is not None
    assert at_5 is not None
    assert (at_10.mean_delay_ms, at_5.mean_delay_ms) == (900, 1500)
    assert points.lowest_rate(silent, 300) == pytest.approx(0.8)


def test_pauses_out_of_range_do_not_count() -> None:
    """Under 0.2 s and over 5 s a pause is in neither part of the rate."""
    odd = [ScoredPause(150.0, 0.0), ScoredPause(6000.0, 0.0)]
    assert {point.cut_off_rate for point in points.sweep_silences([*odd, *ENDS])} == {0.0}


def test_the_speakers_own_pauses_lengthen_the_wait() -> None:
    """After pauses of a second the same probability asks for more silence, so the next pause is not cut off."""
    lengths = PauseLengths(median_ms=300, spread=0.4, weight=1)
    pause = ScoredPause(1000.0, 0.5)
    known = ScoredPause(1000.0, 0.5, (1000.0, 1000.0))
    at_10 = {}
    for name, one in (("new", pause), ("known", known)):
        at_10[name] = [point.cut_off_rate for point in points.sweep_waits([one, *ENDS], lengths)]
    assert sum(at_10["known"]) < sum(at_10["new"])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(200, 5000)), st.floats(0, 1)), min_size=1, max_size=20))
def test_the_front_falls_and_nothing_beats_it(rows: list[tuple[float | None, float]]) -> None:
    """By rising delay its rates fall, and each policy has one of the front that is as good in both."""
    all_points = points.sweep_thresholds([ScoredPause(*row) for row in rows])
    front = points.front(all_points)
    assert [one.cut_off_rate for one in front] == sorted({one.cut_off_rate for one in front}, reverse=True)
    for point in all_points[::997]:
        assert any(one.mean_delay_ms <= point.mean_delay_ms and one.cut_off_rate <= point.cut_off_rate for one in front)


def test_pauses_of_one_speaker_count_less_than_those_of_many() -> None:
    """The interval of the same share is wider if the events lie with one speaker; without any a speaker counts once."""
    spread = clustered_share([(f"speaker {at}", at % 10 == 0) for at in range(100)])
    heaped = clustered_share([(f"speaker {at // 10}", at < 10) for at in range(100)])
    assert (spread.events, heaped.events) == (10, 10)
    assert heaped.high > spread.high
    assert spread.low < 0.1 < spread.high
    none = clustered_share([(f"speaker {at % 5}", False) for at in range(100)])
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 5))


def test_few_speakers_widen_the_interval() -> None:
    """Two speakers with the same share, of which nothing varies between them, leave the design effect unknown."""
    few = clustered_share([(f"speaker {at % 2}", at < 10) for at in range(100)])
    many = clustered_share([(f"speaker {at % 50}", at < 10) for at in range(100)])
    assert few.low < many.low < 0.1 < many.high < few.high
    effective = 100 * (1.984 / 12.706) ** 2  # the 97.5th percentiles of t with 99 and with 1 degrees of freedom
    assert few.high == pytest.approx(stats.beta.ppf(0.975, 0.1 * effective + 1, 0.9 * effective), abs=1e-3)


def test_figures_count_turns_pauses_and_ends_apart() -> None:
    """A pause under 200 ms is no trial, a turn that is not over has no delay, a missing end is later than any."""
    outcomes = [
        TurnOutcome("a", "one", (PauseOutcome(150, True), PauseOutcome(250, False)), True, True, 400.0, 2),
        TurnOutcome("b", "two", (PauseOutcome(700, True),), True, False, None, 1),
        TurnOutcome("c", "two", (), False, True, None, 1),
    ]
    figures = make_figures("a policy", "a corpus", outcomes)
    assert (figures.ends, figures.never, figures.mean_ms, figures.p50_ms) == (2, 1, 400.0, None)
    cut = TurnOutcome("d", "two", (), True, True, None, 1)
    assert make_figures("a policy", "a corpus", [outcomes[0], cut]).p50_ms == 400.0
    assert (figures.turns_cut.events, figures.turns_cut.n) == (2, 3)
    assert (figures.pauses_cut.events, figures.pauses_cut.n) == (1, 2)
    assert figures.by_length[:3] == (("200-400", 0, 1), ("400-600", 0, 0), ("600-1000", 1, 1))


def test_a_policy_chosen_on_others_shows_what_choosing_on_itself_hides() -> None:
    """One speaker pauses for 300 ms, another for 900: silence chosen on the first cuts the second off, each time."""
    short = [ScoredPause(300.0, 0.5, (), "short"), ScoredPause(None, 0.5, (), "short")]
    long = [ScoredPause(900.0, 0.5, (), "long"), ScoredPause(None, 0.5, (), "long")]
    swept = points.sweep_silences([*short, *long])
    own = points.best_delay(swept, 0.0)
    assert own is not None
    assert (own.cut_off_rate, own.mean_delay_ms) == (0.0, 900.0)
    held_out = points.hold_out(swept, 0.0)
    assert held_out == points.HeldOut(cut_off_rate=0.5, mean_delay_ms=(300 + 900) / 2, speakers=2)


def test_one_speaker_has_no_others() -> None:
    """Nor has a pair of which only one ever pauses."""
    assert points.hold_out(points.sweep_silences([*HOLDS, *ENDS]), 0.05) is None
    lone = [ScoredPause(300.0, 0.5, (), "a"), ScoredPause(None, 0.5, (), "a"), ScoredPause(None, 0.5, (), "b")]
    assert points.hold_out(points.sweep_silences(lone), 0.05) is None


def test_the_chart_names_every_line_and_dot(tmp_path: Path) -> None:
    """Detectors and settings have a legend each, however many there are."""
    lines = {f"detector {at}": points.sweep_silences([*HOLDS, *ENDS]) for at in range(9)}
    pause = TurnOutcome("a", "one", (PauseOutcome(250, True),), True, True, 400.0, 2)
    rows = [make_figures(f"setting {at}", "talks", [pause]) for at in range(11)]
    chart.write(tmp_path / "bargain.svg", {"talks": lines}, rows)
    drawn = (tmp_path / "bargain.svg").read_text("utf-8")
    names = [f"detector {at}<" for at in range(9)] + [f"setting {at}<" for at in range(11)]
    assert [name for name in names if name not in drawn] == []
    assert "talks: 1 pauses, 1 ends" in drawn
    with pytest.raises(UsageError, match="a chart is written as"):
        chart.write(tmp_path / "bargain.txt", {"talks": lines}, rows)
