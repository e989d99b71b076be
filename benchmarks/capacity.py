"""Measures whether `turngap capacity` finds the capacity of an agent that is known, and shows a stall in the tail.

    python -m benchmarks.capacity [--rate 5.13] [--turns 100] [--json]      about 18 minutes

The agent is `queue_server.py`: a token bucket of a known rate. The loads that are tried are 4 % apart and know nothing
of that rate. The stall is 3 s, once in 60 turns: an open loop goes on calling meanwhile, a closed one (2 calls at once,
each placed when the one before it has ended) does not.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import turngap
from turngap.capacity.points import PointRecord
from turngap.clock import SystemClock
from turngap.processes import child
from turngap.verdict import stats
from turngap_agent.errors import UsageError

from benchmarks.promises import (
    Promise,
    check_at_most,
    format_number,
    make_parser,
    print_progress,
    print_result,
    print_table,
    run_main,
)

RATE_PER_S = 5.13
LOWEST, HIGHEST, FACTOR = 4.4, 5.9, 1.04
"""Loads from the lowest to the highest, each so many times the one before: none of them is the agent's rate."""
WITHIN = 0.05
STALL_MS = 3000.0
STALL_TURNS, STALL_AFTER, STALL_RATE = 60, 25, 2.0
SHOWN_MS = 1500.0
"""A tail with the stall in it is longer: half of the stall."""
REPLY = "The office is open until nine in the evening."
UTTERANCES, SECONDS, RATE = 20, 0.6, 8000
Result = TypeVar("Result")


def list_rates() -> list[float]:
    """Return the loads that are tried, calls a second."""
    rates = [LOWEST]
    while rates[-1] * FACTOR <= HIGHEST:
        rates.append(round(rates[-1] * FACTOR, 3))
    return rates


def speak_reply(folder: Path) -> str:
    """Return the file of what the agent answers: words, since replies are transcribed."""
    file = folder / "reply.wav"
    command = [sys.executable, "-m", "turngap_agent", "say", "--speech-only", "--out", str(file), REPLY]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return str(file)


def make_scenario(folder: Path, simultaneous_calls: int = 1) -> turngap.Scenario:
    """Return utterances of equal length: tones, which the agent takes for speech."""
    turns = []
    for index in range(UTTERANCES):
        seconds = np.arange(int(RATE * SECONDS)) / RATE
        tone = 0.2 * np.sin(2 * np.pi * (200 + 20 * index) * seconds)
        file = folder / f"tone{index}.wav"
        soundfile.write(file, np.concatenate([tone, np.zeros(RATE // 5)]), RATE, subtype="PCM_16")
        turns.append(turngap.Turn(id=f"tone{index}", audio=file, pause_ms=100))
    return turngap.Scenario(
        name="tones", turns=tuple(turns), probe=True, warm_up_turns=2, simultaneous_calls=simultaneous_calls
    )


@asynccontextmanager
async def running_server(*options: str) -> AsyncIterator[str]:
    """Start the agent and yield its URL."""
    process = await child.start_child([sys.executable, "-m", "benchmarks.queue_server", *options], stderr=None)
    try:
        yield (await child.read_hello(process, "the queue server"))["url"]
    finally:
        await child.stop_child(process, grace_s=1.0)


def with_server(options: Sequence[str], measure: Callable[[str], Result]) -> Result:
    """Return what `measure` returns for the URL of an agent that runs meanwhile."""

    async def work() -> Result:
        async with running_server(*options) as url:
            return await asyncio.to_thread(measure, url)

    return asyncio.run(work())


def measure_knee(folder: Path, reply: str, rate_per_s: float, turns: int) -> turngap.Capacity:
    """Return the capacity run over all loads."""
    scenario = make_scenario(folder)
    return with_server(
        ["--rate", str(rate_per_s), "--reply", reply],
        lambda url: turngap.measure_capacity(
            scenario,
            agent=turngap.Agent.url(url),
            rate=list_rates(),
            turns=turns,
            goes_on=True,
            out=folder / "knee",
            progress=True,
        ),
    )


def measure_stall(folder: Path, reply: str) -> tuple[PointRecord, float | None]:
    """Return the point of an open loop with a stall in it, and p95 of a closed loop with the same stall."""
    options = ["--rate", "1000", "--reply", reply, "--stall-after", str(STALL_AFTER), "--stall-s", str(STALL_MS / 1000)]
    scenario = make_scenario(folder)
    capacity = with_server(
        options,
        lambda url: turngap.measure_capacity(
            scenario,
            agent=turngap.Agent.url(url),
            rate=[STALL_RATE],
            turns=STALL_TURNS,
            out=folder / "open",
            progress=True,
        ),
    )
    closed = make_scenario(folder, simultaneous_calls=2)
    run = with_server(
        options,
        lambda url: turngap.run(
            closed, agent=turngap.Agent.url(url), turns=STALL_TURNS, out=folder / "closed", progress=True
        ),
    )
    gaps = [turn.turn_gap_ms if turn.is_good else None for turn in run.turn_records if turn.is_valid]
    return capacity.record.points[0], stats.percentile(gaps, 0.95)


def list_promises(
    capacity: turngap.Capacity, rate_per_s: float, stalled: PointRecord, closed_p95_ms: float | None
) -> list[Promise]:
    """Return the promises with their figures."""
    knee = capacity.record.knee
    found = knee.estimate if knee is not None else None
    error = None if found is None else abs(found - rate_per_s) / rate_per_s * 100
    open_ms, median_ms = stalled.gap_ms.p95, stalled.gap_ms.p50
    invalid = sum(not point.is_valid for point in (*capacity.record.points, stalled))
    return [
        check_at_most(
            f"the knee is within 5 % of the known rate of {rate_per_s:g} turns a second", error, WITHIN * 100, "%"
        ),
        Promise(
            f"an open loop shows a stall of 3 s in its p95 (over {SHOWN_MS:.0f} ms, or no answer), not in its median",
            format_number(open_ms),
            open_ms,
            holds=median_ms is not None and median_ms <= SHOWN_MS and (open_ms is None or open_ms > SHOWN_MS),
        ),
        Promise("p95 of a closed loop with the same stall", format_number(closed_p95_ms), closed_p95_ms, holds=None),
        Promise("points at which the instrument was late", f"{invalid}", float(invalid), holds=None),
    ]


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = make_parser(__doc__)
    parser.add_argument("--rate", type=float, default=RATE_PER_S, help="the agent's capacity, turns a second")
    parser.add_argument("--turns", type=int, default=100, help="turns at each load")
    options = parser.parse_args()
    if not LOWEST < options.rate < HIGHEST:
        raise UsageError(f"--rate {options.rate:g}: between {LOWEST:g} and {HIGHEST:g}, where loads are tried")
    started_ns = SystemClock().now_ns()
    with tempfile.TemporaryDirectory(prefix="turngap-capacity-") as name:
        folder = Path(name)
        reply = speak_reply(folder)
        capacity = measure_knee(folder, reply, options.rate, options.turns)
        stalled, closed_p95_ms = measure_stall(folder, reply)
        points = [*capacity.record.points, stalled]
        rows = [
            [
                point.name,
                f"{point.under_way.mean:.1f}",
                format_number(point.answered_per_s, "", 2),
                format_number(point.gap_ms.p50),
                format_number(point.gap_ms.p95),
                format_number(point.from_t0_ms.p95),
                format_number(point.caller.send_p99_ms, digits=1),
                str(point.decision),
            ]
            for point in points
        ]
    columns = ("load", "under way", "answered a second", "p50", "p95", "p95 from t0", "frames late, p99", "")
    print_table("loads", columns, rows, as_json=options.json)
    print_progress(f"took {(SystemClock().now_ns() - started_ns) / 60e9:.1f} min")
    promises = list_promises(capacity, options.rate, stalled, closed_p95_ms)
    details = {"points": [point.model_dump(mode="json") for point in points], "closed_p95_ms": closed_p95_ms}
    return print_result("capacity", promises, details, as_json=options.json)


if __name__ == "__main__":
    sys.exit(run_main(main))
