"""The search for changes: what it must find, and how often it is wrong where there is nothing."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.history.change_points import LEVEL, SHORTEST, find_changes


@pytest.mark.parametrize(
    ("values", "changes"),
    [
        ([450, 452, 449, 451, 450, 448, 530, 529, 531, 530, 532, 528], (6,)),
        ([450.0] * 6 + [math.inf] * 6, (6,)),
        (
            [450, 451, 449, 452, 450, 448] * 2
            + [520, 521, 519, 522, 520, 518] * 2
            + [450, 451, 449, 452, 450, 448] * 2,
            (12, 24),
        ),
    ],
    ids=["slower", "unanswered", "slower and mended"],
)
def test_a_clear_change_is_found_where_it_is(values: list[float], changes: tuple[int, ...]) -> None:
    """The index of the first run of the new level."""
    assert find_changes(values) == changes


@pytest.mark.parametrize(
    "values", [[], [450], [450, 600, 450, 600, 450], [450, 451, 450, 452, 900, 450, 451, 449, 452, 450]]
)
def test_no_change_in_few_runs_or_one_bad_day(values: list[float]) -> None:
    """One outlier is no level, and five runs are no evidence."""
    assert find_changes(values) == ()


def test_a_change_is_rarely_marked_where_there_is_none() -> None:
    """Of 200 series of 20 runs without a change, no more are marked than the level explains."""
    rng = np.random.default_rng(7)
    marked = sum(bool(find_changes(list(rng.normal(450, 10, 20)))) for _ in range(200))
    assert marked <= 8  # the 99.9 % quantile of a binomial with 200 and 1 %
    assert LEVEL == 0.01


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1e4) | st.just(math.inf), max_size=40))
def test_changes_are_places_inside_the_series(values: list[float]) -> None:
    """Ascending, and each level has at least the shortest length; the same figures give the same changes."""
    changes = find_changes(values)
    edges = [0, *changes, len(values)]
    assert all(end - start >= SHORTEST for start, end in itertools.pairwise(edges)) or not changes
    assert find_changes(values) == changes
