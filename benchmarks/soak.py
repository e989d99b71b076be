"""Measures whether an agent keeps anything of its calls: slopes of memory and latency, descriptors and tasks left.

    python -m benchmarks.soak [--profile scripted] [--calls 500] [--at-once 8] [--json]      about 4 minutes
    python -m benchmarks.soak --profile cpu --warm-up 30 --calls 50 --at-once 2             about 4 minutes

Calls of one turn are placed in waves of `--at-once`: on real sockets nothing is faster than real time. After each wave,
when no call is left, the agent's memory, descriptors, threads and tasks are read. The first calls fill caches, thread
pools and the allocators' arenas, and give back what loading took, which no later call does: those of `--warm-up` are
placed before those that count; without it the first tenth of the waves, two at least, is left out.
"""

from __future__ import annotations

import asyncio
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from turngap.chaos.conversations import Callers, make_callers
from turngap.session.preparation import fetch_weights
from turngap_agent import profile as profiles
from turngap_agent.errors import AgentError
from turngap_agent.profile import Profile

from benchmarks.agent_calls import open_agent
from benchmarks.promises import (
    UNUSABLE,
    Promise,
    check_at_most,
    format_number,
    make_parser,
    print_progress,
    print_result,
    print_table,
    run_main,
)
from benchmarks.slopes import fit_slope

MOST_KIB_A_CALL = 10.0
CALM_S = 0.3
"""After the last call of a wave: the agent hands its spans over and closes sockets."""
IDLE_WITHIN_S = 10.0
LEAST_WAVES = 8
"""That count, for a slope."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The agent after a wave, with no call left."""

    calls: int
    """Placed so far."""
    answered: int
    """Of this wave."""
    memory_kib: float
    """Of the agent and the processes that it started: what is theirs alone, in memory or swapped out."""
    descriptors: int
    threads: int
    tasks: float
    gap_ms: float | None
    """The median of this wave."""


def read_gauges(http: str) -> dict[str, float]:
    """Return the plain numbers of the agent's metrics page."""
    with urllib.request.urlopen(f"{http}/metrics", timeout=10) as page:  # our own agent
        rows = [line.split() for line in page.read().decode().splitlines() if not line.startswith("#")]
    return {row[0]: float(row[1]) for row in rows if len(row) == 2}


async def wait_idle(http: str) -> dict[str, float]:
    """Return the agent's gauges once no call is left.

    Raises:
        AgentError: a call is left.
    """
    for _ in range(round(IDLE_WITHIN_S / 0.1)):
        gauges = await asyncio.to_thread(read_gauges, http)
        if not gauges["turngap_active_calls"]:
            await asyncio.sleep(CALM_S)
            return await asyncio.to_thread(read_gauges, http)
        await asyncio.sleep(0.1)
    raise AgentError(f"{gauges['turngap_active_calls']:.0f} calls are left {IDLE_WITHIN_S:g} s after their end")


def read_own_kib(pid: int) -> int:
    """Return a process's anonymous memory in KiB: what it has allocated, in memory or swapped out.

    Resident memory also has pages of files, code and weights, which the kernel drops and reads again as it likes.
    """
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines())
    return sum(int(lines[name].split()[0]) for name in ("RssAnon", "VmSwap"))


def read_processes(pid: int) -> tuple[float, int, int]:
    """Return memory in KiB, descriptors and threads of a process and of those that it started."""
    own = psutil.Process(pid)
    tree = [own, *own.children(recursive=True)]
    return (
        float(sum(read_own_kib(process.pid) for process in tree)),
        sum(process.num_fds() for process in tree),
        sum(process.num_threads() for process in tree),
    )


async def soak(profile: Profile, callers: Callers, calls: int, at_once: int, seconds: float) -> list[Sample]:
    """Place the calls, for so many seconds at most; return a sample after each wave.

    Raises:
        AgentError: the agent did not start, or a call did not end.
    """
    samples, placed = list[Sample](), 0
    async with open_agent(profile, callers, at_once) as opened:
        agent, clock = opened.agent, opened.clock
        assert agent.pid is not None
        assert agent.ready.http is not None
        started_ns = clock.now_ns()
        while placed < calls and clock.now_ns() - started_ns < seconds * 1e9:
            wave = range(placed, min(placed + at_once, calls))
            answers = await asyncio.gather(*map(opened.place, wave))
            placed += len(wave)
            gauges = await wait_idle(agent.ready.http)
            gaps = [gap for gap in answers if gap is not None]
            memory, descriptors, threads = read_processes(agent.pid)
            median = float(np.median(gaps)) if gaps else None
            tasks = gauges["turngap_tasks"]
            samples.append(Sample(placed, len(gaps), memory, descriptors, threads, tasks, median))
            print_progress(f"{placed}/{calls} calls, {memory / 1024:.1f} MiB, gap {format_number(median)}")
    return samples


def skip_warm_up(samples: Sequence[Sample], warm_up: int = 0) -> Sequence[Sample]:
    """Return the samples after so many calls; where that is 0, without the first tenth, two at least."""
    if warm_up:
        return [sample for sample in samples if sample.calls >= warm_up]
    return samples[max(2, len(samples) // 10) :]


def judge(samples: Sequence[Sample], calls: int, warm_up: int = 0) -> list[Promise]:
    """Return what must hold of so many calls, those of the warm-up among them."""
    kept = skip_warm_up(samples, warm_up)
    answered = sum(sample.answered for sample in samples)
    at = [float(sample.calls) for sample in kept]
    memory = fit_slope(at, [sample.memory_kib for sample in kept])
    gaps = [(place, sample.gap_ms) for place, sample in zip(at, kept, strict=True) if sample.gap_ms is not None]
    first, last = kept[0], kept[-1]
    promises = [
        Promise("calls answered", f"{answered} of {calls}", answered, holds=answered == calls),
        Promise(
            f"memory a call: the interval holds 0, or is at most {MOST_KIB_A_CALL:g} KiB",
            f"{memory.point:.1f} KiB ({memory.low:.1f} to {memory.high:.1f})",
            memory.point,
            holds=memory.holds_or_below(MOST_KIB_A_CALL),
        ),
        check_at_most(
            "half of that interval: a leak of twice as much would be found", memory.half_width, MOST_KIB_A_CALL, "KiB"
        ),
        check_at_most("descriptors left", last.descriptors - first.descriptors, 0, "", 0),
        check_at_most("tasks left", last.tasks - first.tasks, 0, "", 0),
        check_at_most("threads left", last.threads - first.threads, 0, "", 0),
    ]
    if len(gaps) < LEAST_WAVES:
        return [*promises, Promise("the gap does not grow", "too few answers", None, holds=False)]
    latency = fit_slope([place for place, _ in gaps], [gap for _, gap in gaps])
    middle = float(np.median([gap for _, gap in gaps]))
    whole = at[-1] - at[0]
    return [
        *promises,
        Promise(
            "growth of the gap from the first call to the last: the interval holds 0, or is at most 5 %",
            f"{latency.point * whole:+.1f} ms of {middle:.0f} "
            f"({latency.low * whole:+.1f} to {latency.high * whole:+.1f})",
            latency.point * whole,
            holds=latency.holds_or_below(0.05 * middle / whole),
        ),
    ]


def main() -> int:
    """Soak an agent; return 0 if every promise holds."""
    parser = make_parser(__doc__)
    parser.add_argument("--profile", default="scripted")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=8, help="calls of a wave (default 8)")
    parser.add_argument("--warm-up", type=int, default=0, help="calls before them, which are in no slope")
    parser.add_argument("--seconds", type=float, default=1800, help="no wave begins later (default 1800)")
    options = parser.parse_args()
    waves = -(-options.calls // max(1, options.at_once))
    skipped = 0 if options.warm_up else max(2, waves // 10)
    if options.at_once < 1 or options.warm_up < 0 or waves - skipped < LEAST_WAVES:
        print_progress(
            f"{options.calls} calls, {options.at_once} at once: a slope needs {LEAST_WAVES + 2} waves or more"
        )
        return UNUSABLE
    profile = profiles.load(options.profile)
    fetch_weights(profile.model_dump(mode="json"))
    callers = make_callers(profile, 1, print_progress)
    calls = options.warm_up + options.calls
    samples = asyncio.run(soak(profile, callers, calls, options.at_once, options.seconds))
    kept = skip_warm_up(samples, options.warm_up)
    if len(kept) < LEAST_WAVES:
        print_progress(f"{len(samples)} waves in {options.seconds:g} s: too few for a slope; raise --seconds")
        return UNUSABLE
    columns = ("calls", "MiB", "descriptors", "threads", "tasks", "gap")
    shown = [samples[0], *kept[:: max(1, len(samples) // 8)], samples[-1]]
    rows = [
        (
            str(sample.calls),
            f"{sample.memory_kib / 1024:.1f}",
            str(sample.descriptors),
            str(sample.threads),
            f"{sample.tasks:.0f}",
            format_number(sample.gap_ms),
        )
        for sample in shown
    ]
    print_table("the agent after so many calls", columns, rows, as_json=options.json)
    details: dict[str, Any] = {"profile": profile.name, "samples": [asdict(sample) for sample in samples]}
    return print_result("soak", judge(samples, calls, options.warm_up), details, as_json=options.json)


if __name__ == "__main__":
    sys.exit(run_main(main))
