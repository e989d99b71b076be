"""The soak's judgement: what is left of calls is found, and what the first calls fill is not."""

import os
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import soak
from benchmarks.soak import Sample, judge, skip_warm_up


def make_samples(n: int = 60, kib_a_call: float = 0.0) -> list[Sample]:
    """An agent that fills its caches with the first two waves of 8, and then leaks so much."""
    noise = np.random.default_rng(1).normal(0, 40, n)
    return [
        Sample(
            calls=8 * (wave + 1),
            answered=8,
            memory_kib=90_000 - 4000 * max(0, 2 - wave) + kib_a_call * 8 * wave + noise[wave],
            descriptors=12 - max(0, 2 - wave),
            threads=5,
            tasks=9,
            gap_ms=90 + noise[wave] / 20,
        )
        for wave in range(n)
    ]


def broken(samples: list[Sample]) -> list[str]:
    """The promises that do not hold."""
    return [promise.promise for promise in judge(samples, 8 * len(samples)) if not promise.holds]


def test_an_agent_that_keeps_nothing_holds_all_promises():
    """Whatever its first calls filled."""
    assert len(skip_warm_up(make_samples())) == 54
    assert broken(make_samples()) == []


@pytest.mark.parametrize(
    ("spoilt", "part"),
    [
        (make_samples(kib_a_call=20.0), "memory a call"),
        ([*make_samples()[:-1], replace(make_samples()[-1], descriptors=13)], "descriptors left"),
        ([*make_samples()[:-1], replace(make_samples()[-1], tasks=10)], "tasks left"),
        ([*make_samples()[:-1], replace(make_samples()[-1], threads=6)], "threads left"),
        ([*make_samples()[:-1], replace(make_samples()[-1], answered=7)], "calls answered"),
        ([replace(one, gap_ms=90 + one.calls / 10) for one in make_samples()], "growth of the gap"),
        ([replace(one, gap_ms=None) for one in make_samples()], "the gap does not grow"),
        (
            [replace(one, memory_kib=one.memory_kib + 9000 * (wave % 9)) for wave, one in enumerate(make_samples())],
            "half of",
        ),
    ],
)
def test_each_promise_can_fail(spoilt, part):
    """By what it is about, and by that alone."""
    (promise,) = broken(spoilt)
    assert part in promise


def test_calls_of_the_warm_up_are_in_no_slope():
    """What loading took and the first calls give back is no figure of the calls that follow."""
    falls = [replace(one, memory_kib=one.memory_kib + 50_000 * (wave < 9)) for wave, one in enumerate(make_samples())]
    assert len(skip_warm_up(falls, 80)) == 51
    memory, width = [
        promise for promise in judge(falls, 480, 80) if "memory" in promise.promise or "half" in promise.promise
    ]
    assert memory.holds
    assert width.holds


def test_too_few_waves_are_refused_before_anything_starts(monkeypatch, capsys):
    """Nothing is measured by 20 calls, 8 at once."""
    monkeypatch.setattr("sys.argv", ["soak", "--calls", "20"])
    assert soak.main() == 2
    assert "10 waves or more" in capsys.readouterr().err


def test_memory_is_what_a_process_has_allocated():
    """32 MiB more are seen as 32 MiB; pages of files, which the kernel drops as it likes, are not counted."""
    before_kib = soak.read_own_kib(os.getpid())
    held = np.ones(32 << 20, np.uint8)
    grown_kib = soak.read_own_kib(os.getpid()) - before_kib
    assert held.nbytes / 1024 * 0.9 < grown_kib < held.nbytes / 1024 * 1.2
