"""The knee: the last load that a server with a known rate can take, and none where the curve does not rise."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from turngap.capacity import shapes
from turngap.capacity.arrivals import NS_PER_S, Load, plan_arrivals
from turngap.capacity.knee import find_knee
from turngap.capacity.points import Decision, PointRecord
from turngap.verdict import stats

from tests.harness.capacity.builders import point


def served_point(rate_per_s: float, capacity_per_s: float, queue: int, turns: int = 300) -> PointRecord:
    """A point against a token bucket: 200 ms an answer once its token has come; a full queue answers none."""
    plan = plan_arrivals(shapes.load_shape("steady"), Load(rate_per_s=rate_per_s), [3.0] * turns, seed="1")
    rng = np.random.default_rng(1)
    token_s, gaps, ends = 0.0, [], []
    for arrival in plan.scored:
        at_s = arrival.start_ns / NS_PER_S + float(rng.uniform(0, 0.02))
        if (token_s - at_s) * capacity_per_s > queue:
            gaps.append(None)
            continue
        start_s = max(at_s, token_s)
        token_s = start_s + 1 / capacity_per_s
        gaps.append((start_s - at_s) * 1000 + 200)
        ends.append(start_s + 0.2)
    answered = (len(ends) - 1) / (max(ends) - min(ends))
    return point(1, answered_per_s=answered).model_copy(
        update={"calls": None, "rate_per_s": rate_per_s, "gap_ms": stats.latency_figures(gaps), "name": f"{rate_per_s}"}
    )


@pytest.mark.parametrize("capacity_per_s", [3.7, 5.13, 11.0])
@pytest.mark.parametrize("queue", [3, 1000])
def test_the_knee_of_a_known_server_is_found_within_5_percent(capacity_per_s: float, queue: int) -> None:
    """Loads 4 % apart, on a grid that does not know the capacity; with a short queue and with a long one."""
    rates = accumulate([1.0] + [1.04] * 90, lambda before, factor: before * factor)
    loads = [rate for rate in rates if 0.6 * capacity_per_s < rate < 1.5 * capacity_per_s]
    knee = find_knee([served_point(rate, capacity_per_s, queue) for rate in loads])
    assert knee is not None
    assert knee.is_found
    assert knee.estimate == pytest.approx(capacity_per_s, rel=0.05)
    assert knee.next_load is not None
    assert knee.load < (knee.estimate or 0) < knee.next_load


def test_a_flat_curve_has_no_knee_yet() -> None:
    """Power grows up to the highest load: the knee lies beyond it."""
    knee = find_knee([point(1), point(2), point(4)])
    assert knee is not None
    assert (knee.is_found, knee.load, knee.next_load) == (False, 4, None)


def test_invalid_points_and_unanswered_ones_do_not_count() -> None:
    """A late instrument says nothing; a p95 among unanswered turns is no power at all."""
    points = [point(1), point(2), point(4, None), point(8, 1.0, decision=Decision.INVALID)]
    knee = find_knee(points)
    assert knee is not None
    assert (knee.load, knee.next_load) == (2, 4)


def test_a_single_load_has_no_knee() -> None:
    """Nor have points that nobody answered."""
    assert find_knee([point(1)]) is None
    assert find_knee([point(1, None), point(2, None)]) is None
