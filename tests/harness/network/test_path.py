"""A path: seeded, in order, never early, and loss as much as its profile says."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from turngap.clock import NS_PER_MS
from turngap.network import Burst, Direction, NetworkPath, Stall

FRAME_NS = 20 * NS_PER_MS

directions = st.builds(
    Direction,
    delay_ms=st.floats(0, 500),
    jitter_ms=st.floats(0, 200),
    loss=st.floats(0.01, 0.5),
    loss_run=st.none() | st.floats(1, 20),
    duplicate=st.floats(0, 0.5),
    burst=st.none() | st.builds(Burst, period_ms=st.floats(0.001, 300)),
    stall=st.none() | st.builds(Stall, every_s=st.floats(0.1, 10), lasts_ms=st.floats(1, 1000)),
)


def frames(direction: Direction, seed: int, count: int, start_ns: int = 10**12) -> list[tuple[int, tuple[int, ...]]]:
    path = NetworkPath(direction, seed)
    sent_ns = [start_ns + k * FRAME_NS for k in range(count)]
    return [(at_ns, path.frame_arrivals_ns(at_ns)) for at_ns in sent_ns]


@given(directions, st.integers(0, 2**40), st.integers(0, 10**15))
@settings(max_examples=200, deadline=None)
def test_nothing_overtakes_and_nothing_is_early(direction: Direction, seed: int, start_ns: int) -> None:
    """Arrivals are in the order of sending, each at least `delay_ms` after it was sent."""
    passed = frames(direction, seed, 200, start_ns)
    arrivals = [at_ns for _, arrived in passed for at_ns in arrived]
    assert arrivals == sorted(arrivals)
    for sent_ns, arrived in passed:
        assert len(arrived) <= 2
        assert all(at_ns >= sent_ns + round(direction.delay_ms * NS_PER_MS) for at_ns in arrived)


@given(directions, st.integers(0, 2**40))
@settings(max_examples=50, deadline=None)
def test_same_seed_same_arrivals(direction: Direction, seed: int) -> None:
    """A seed settles everything; only a path that draws nothing is the same under another."""
    assert frames(direction, seed, 100) == frames(direction, seed, 100)
    drawn = Direction(jitter_ms=10)
    assert frames(drawn, seed, 100) != frames(drawn, seed + 1, 100)


@given(st.floats(0.01, 0.5), st.integers(0, 2**40))
@settings(max_examples=50, deadline=None)
def test_as_much_is_lost_as_the_profile_says(loss: float, seed: int) -> None:
    """The count of lost frames is one that a binomial draws in all but one of 10^9 cases."""
    lost = sum(not arrived for _, arrived in frames(Direction(loss=loss), seed, 1000))
    low, high = stats.binom.ppf([5e-10, 1 - 5e-10], 1000, loss)
    assert low <= lost <= high


def test_losses_in_a_row() -> None:
    """With `loss_run` the share stays what it is, and the runs are that long on average."""
    lost = NetworkPath(Direction(loss=0.05, loss_run=4), 1).draw_losses(200_000)
    runs = [len(list(group)) for is_lost, group in itertools.groupby(lost.tolist()) if is_lost]
    assert 0.045 < lost.mean() < 0.055
    assert 3.8 < np.mean(runs) < 4.2


def test_doubles_arrive_together() -> None:
    """About the given share arrives twice, at one time."""
    passed = frames(Direction(duplicate=0.25), 1, 4000)
    doubled = [arrived for _, arrived in passed if len(arrived) == 2]
    assert 0.2 < len(doubled) / 4000 < 0.3
    assert all(one == other for one, other in doubled)


def test_jitter_is_under_its_value_and_seldom_near_it() -> None:
    """Cut off at `jitter_ms`; half of it under a quarter, as its quantile says."""
    late_ms = np.array([(arrived[0] - at) / NS_PER_MS for at, arrived in frames(Direction(jitter_ms=20), 1, 4000)])
    assert late_ms.min() >= 0
    assert late_ms.max() <= 20
    assert 2 < np.median(late_ms) < 5


def test_a_stall_lets_everything_through_at_its_end() -> None:
    """What is sent during a stall arrives at one moment, and no earlier than it would have."""
    passed = frames(Direction(stall=Stall(every_s=1, lasts_ms=400)), 3, 1000)
    late_ms = [(arrived[0] - sent_ns) / NS_PER_MS for sent_ns, arrived in passed]
    assert max(late_ms) <= 400
    together = [len(list(group)) for _, group in itertools.groupby(arrived[0] for _, arrived in passed)]
    assert max(together) == 20
    assert sum(late == 0 for late in late_ms) > 500


def test_bursts_are_on_a_grid() -> None:
    """Every period passes on what was collected; nothing waits longer than one."""
    passed = frames(Direction(burst=Burst(period_ms=100)), 3, 100)
    arrivals = sorted({arrived[0] for _, arrived in passed})
    assert {later - earlier for earlier, later in itertools.pairwise(arrivals)} == {100 * NS_PER_MS}
    assert all(0 <= arrived[0] - sent_ns < 100 * NS_PER_MS for sent_ns, arrived in passed)


def test_what_is_never_lost() -> None:
    """A control message arrives once, whatever the profile loses or doubles, and after what was sent before it."""
    path = NetworkPath(Direction(loss=0.5, duplicate=0.5, jitter_ms=50), 1)
    at_ns = 0
    for k in range(100):
        arrived = path.frame_arrivals_ns(k * FRAME_NS)
        control_ns = path.message_arrival_ns(k * FRAME_NS)
        assert control_ns >= max([at_ns, *arrived])
        at_ns = control_ns
