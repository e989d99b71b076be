"""The benchmark of callers: its bracketing on a caller of known capacity, its peer with real calls, its arguments."""

from __future__ import annotations

import math
import os

import pytest
from turngap.clock import SystemClock
from turngap_agent.errors import UsageError

from benchmarks import callers
from benchmarks.callers import Bench, Trial, find_most, p99_ms, read_cpus, running_bench

CAPACITY = 333


class KnownBench(Bench):
    """Carries so many calls, and no more."""

    def try_calls(self, calls: int, *, source: object = None) -> Trial:
        late = {"p99": 1.0 if calls <= CAPACITY else 50.0}
        return {"calls": calls, "late_ms": late, "sent_share": 1.0, "ended_early": []}


def make_bench() -> KnownBench:
    return KnownBench("ws://nowhere/", 1, (0, 1), 1.0)


def test_the_most_calls_are_bracketed() -> None:
    """To within 6 %, from below and above; a bound that nothing holds is none."""
    clock = SystemClock()
    low, high = find_most(make_bench(), 10.0, clock, clock.now_ns() + 10**12)
    assert high is not None
    assert low <= CAPACITY < high <= low * callers.WITHIN
    low, high = find_most(make_bench(), 0.5, clock, clock.now_ns() + 10**12)
    assert (low, high is not None and high <= 3) == (0, True)


def test_two_trials_of_three_decide() -> None:
    """A single bad trial does not, and calls that ended early count as infinitely late."""
    bench = make_bench()
    good = bench.try_calls(1)
    bad = {**good, "ended_early": ["gone"]}
    assert p99_ms(bad) == p99_ms({**good, "sent_share": 0.9}) == math.inf
    bench.trials = {1: [good, bad, good], 2: [bad, good, bad], 3: [good, good]}
    assert [bench.holds(calls, 10.0) for calls in (1, 2, 3)] == [True, False, True]


def test_two_cpus_are_needed() -> None:
    """That are there, and are two."""
    own = sorted(os.sched_getaffinity(0))
    for text in ("0", "a,b", f"{own[0]},4096", "0,1,2"):
        with pytest.raises(UsageError, match="two of the CPUs"):
            read_cpus(text)
    assert read_cpus(f"{own[0]},{own[-1]}") == (own[0], own[-1])


def test_the_peer_answers_each_message_and_each_utterance() -> None:
    """Two real calls: as many answers as frames, and the callers find the replies that they speak after."""
    cpu = min(os.sched_getaffinity(0))
    with running_bench((cpu, cpu), 1.5) as bench:
        trial = bench.try_calls(2)
        assert not trial["ended_early"]
        assert trial["frames"] > 0
        assert trial["answered_share"] == pytest.approx(trial["sent_share"], abs=0.1)
        assert trial["turns"] >= 2
        assert bench.measure_floor(2, 0.1) > 0


def test_the_caller_s_work_is_measured_in_a_conversation() -> None:
    """The script that uses the inside of a call still finds it, and the caller speaks after each reply."""
    work = callers.run_script("callers_work.py", [], callers.ROOT)
    assert work["send_us"] > 0 < work["read_us"]
    assert work["turns"] > 10
