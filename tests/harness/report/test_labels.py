"""Words in charts: an estimate of their width, and places where they lie across no line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from turngap.report.labels import Scale, better_side, place_clear_of, width_px

SCALE = Scale(left=0, right=1000, width_px=500, top=1.0, height_px=250)


def test_the_longest_line_counts() -> None:
    """Bold words are wider; of several lines the longest decides."""
    assert width_px("p95 is at most\n480 ms") == width_px("p95 is at most")
    assert width_px("p95", bold=True) > width_px("p95")


@given(st.floats(0, 900), st.floats(10, 200), st.floats(0, 1000), st.floats(0, 10))
def test_words_never_cross_the_line(start: float, wide: float, line: float, gap: float) -> None:
    """They stay where they are, or begin just behind it."""
    at = place_clear_of(start, wide, line, gap)
    assert at == start or at == line + gap
    assert not at < line < at + wide


def test_the_side_with_fewer_dots() -> None:
    """And never one on which the words do not fit."""
    dots = [(450.0, 0.1)] * 9
    assert better_side(500, "p95 is at most", 0.05, SCALE, dots, []) == "right"
    assert better_side(500, "p95 is at most", 0.05, SCALE, [(550.0, 0.1)], []) == "left"
    assert better_side(500, "p95 is at most", 0.05, SCALE, [], [520.0]) == "left"
    assert better_side(990, "p95 is at most", 0.05, SCALE, [(950.0, 0.1)] * 9, []) == "left"
    assert better_side(10, "p95 is at most", 0.05, SCALE, [], [20.0]) == "right"
