"""A remote agent's clock: the true time is always within the stated bounds, whatever delays, offset and drift are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.clock import NS_PER_MS
from turngap.spans.alignment import LARGEST_DRIFT_PPM, Alignment

SECOND = 1_000 * NS_PER_MS
OFFSETS = st.integers(-(10**18), 10**18)
TIMES = st.integers(0, 600 * SECOND)


def read_theirs(ours_ns: int, offset_ns: int, drift_ppm: int) -> int:
    """What the agent's clock shows at our time."""
    return ours_ns + offset_ns + ours_ns * drift_ppm // 1_000_000


@given(
    offset_ns=OFFSETS,
    drift_ppm=st.integers(-LARGEST_DRIFT_PPM + 10, LARGEST_DRIFT_PPM - 10),
    out=st.lists(st.tuples(TIMES, st.integers(0, 400 * NS_PER_MS)), min_size=1, max_size=12),
    back=st.lists(st.tuples(TIMES, st.integers(0, 400 * NS_PER_MS)), min_size=1, max_size=12),
    asked=TIMES,
    reach_ns=st.integers(0, 5 * SECOND),
)
def test_the_true_time_is_within_the_bounds(
    offset_ns: int, drift_ppm: int, out: list[tuple[int, int]], back: list[tuple[int, int]], asked: int, reach_ns: int
) -> None:
    """For any offset, any drift under the largest, and any delays, however unequal, the interval has the true time."""
    to_agent = [(sent, read_theirs(sent + delay, offset_ns, drift_ppm)) for sent, delay in out]
    to_us = [(sent + delay, read_theirs(sent, offset_ns, drift_ppm)) for sent, delay in back]
    alignment = Alignment.of_messages(to_agent, to_us)
    low_ns, high_ns = alignment.bounds_ns(asked)
    assert low_ns <= read_theirs(asked, offset_ns, drift_ppm) - asked <= high_ns
    for at_ns in (asked - reach_ns, asked + reach_ns):  # the same offset serves for all that is so near
        offset, within_ns = alignment.offset_near(asked, reach_ns)
        assert abs(read_theirs(at_ns, offset_ns, drift_ppm) - offset - at_ns) <= within_ns + 1


@given(offset_ns=OFFSETS, steps=st.lists(st.integers(-480, 480), min_size=60, max_size=60), delay_ms=st.integers(1, 80))
def test_a_drift_that_changes_is_followed(offset_ns: int, steps: list[int], delay_ms: int) -> None:
    """A clock that is slewed now forwards, now backwards, second by second, stays within the bounds all along."""
    theirs = [offset_ns]
    for second, ppm in enumerate(steps):
        theirs.append(theirs[second] + SECOND + SECOND * ppm // 1_000_000)
    delay_ns = delay_ms * NS_PER_MS

    def read(ours_ns: int) -> int:
        second = min(ours_ns // SECOND, len(steps) - 1)
        return theirs[second] + (ours_ns - second * SECOND) * (1_000_000 + steps[second]) // 1_000_000

    sent = range(0, 58 * SECOND, 2 * SECOND)
    alignment = Alignment.of_messages(
        [(at, read(at + delay_ns)) for at in sent], [(at + delay_ns, read(at)) for at in sent]
    )
    for at in range(0, 59 * SECOND, SECOND // 3):
        offset, within_ns = alignment.offset_near(at, 0)
        assert abs(read(at) - offset - at) <= within_ns + 1
        assert within_ns <= delay_ns * 1.01 + 3 * NS_PER_MS  # and they are not wide for nothing


def test_the_fastest_messages_decide() -> None:
    """One fast message each way bounds the offset by its own delay, however slow the others are."""
    to_agent = [(at * SECOND, at * SECOND + 7_000 + delay) for at, delay in ((1, 90_000_000), (1, 200_000))]
    to_us = [(at * SECOND + delay, at * SECOND + 7_000) for at, delay in ((1, 300_000), (1, 80_000_000))]
    offset, within_ns = Alignment.of_messages(to_agent, to_us).offset_near(SECOND, 0)
    assert abs(offset - 7_000) <= within_ns < 500_000


def test_facts_of_one_kind_bound_nothing() -> None:
    """Without anything that the agent sent, or without anything that it read, there is no alignment."""
    one_sided = Alignment.of_messages([(0, 5)], [])
    assert not one_sided.is_bounded
    with pytest.raises(ValueError, match="both sides"):
        one_sided.bounds_ns(0)


def test_contradicting_facts_show() -> None:
    """A message that seems to be read before it was sent, by more than the offset allows, makes the bounds cross."""
    alignment = Alignment.of_messages([(0, -5_000_000)], [(0, 5_000_000)])
    low_ns, high_ns = alignment.bounds_ns(0)
    assert low_ns > high_ns
    with pytest.raises(ValueError, match=r"contradicts by 10\.0 ms"):
        alignment.offset_near(0, 0)
