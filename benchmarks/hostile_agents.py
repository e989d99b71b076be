"""Measures what a hostile agent costs another call: the lateness of a neighbour's call on the same event loop.

    python benchmarks/hostile_agents.py [KIND ...] [--seconds 10] [--out hostile.json]

For each kind two calls are placed at once by one caller process: one to the hostile agent, again and again for as long
as the other lasts, and one to an agent that only listens. Both agents are processes of their own. Printed for the
neighbour: how late its frames left, and for how long the event loop was away in each frame, p50, p99 and maximum; and
how the hostile calls ended. `silent` is the same without hostility.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from turngap.caller.call import place_call
from turngap.caller.lateness import recv_late_ms, send_late_ms
from turngap.caller.priority import raised_priority, short_collections
from turngap.caller.scheduler import Scheduler
from turngap.clock import SystemClock
from turngap.model.records import CallRecord, Clip
from turngap.processes import child
from turngap.scenario import PlannedCall, Turn

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import hostile_kinds
from benchmarks.hostile_kinds import KINDS

CLIP = Clip("tone", (np.sin(np.arange(1600) / 3) * 6000).astype(np.int16), 0, "hello", 0, 0, "made", True)
WARM_UP_FRAMES = 25
"""Left out: the calls begin then."""


def summarise(record: CallRecord) -> dict[str, float]:
    """Return the percentiles of a call's lateness, ms."""
    late = {"send": send_late_ms(record)[WARM_UP_FRAMES:], "recv": recv_late_ms(record)[WARM_UP_FRAMES:]}
    return {
        f"{name}_{label}_ms": round(float(np.quantile(values, share)), 3)
        for name, values in late.items()
        for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }


async def measure_kind(kind: str, seconds: float) -> dict[str, Any]:
    """Return the neighbour's lateness beside an agent of that kind, and how the hostile calls ended."""
    clock = SystemClock()
    processes = [await _start_agent(name) for name in (kind, "silent")]
    ends: Counter[str] = Counter()
    details: set[str] = set()
    over = asyncio.Event()
    try:
        async with Scheduler(clock).running() as scheduler:

            async def call(url: str, index: int, within_s: float) -> CallRecord:
                keys = {"id": "a", "say": "hello", "pause_ms": 100, "answer_within_ms": round(within_s * 1000)}
                turn = Turn.model_validate(keys)
                planned = PlannedCall(index, (turn,), probe=True)
                clips = {turn.key: CLIP}
                return await place_call(url, planned, clips, clock=clock, scheduler=scheduler, seed=1, auth_token="")

            async def harass() -> None:
                index = 1
                while not over.is_set():
                    record = await call(processes[0][1], index, seconds)
                    ends[record.end] += 1
                    details.update([record.detail, *record.warnings])
                    index += 1
                    await asyncio.sleep(0.2)

            with short_collections():
                hostile = asyncio.create_task(harass())
                neighbour = await call(processes[1][1], 0, seconds)
            over.set()
            hostile.cancel()  # a call that is cancelled ends and returns its record
            await asyncio.wait([hostile])
    finally:
        for process, _ in processes:
            await child.stop_child(process, grace_s=1.0)
    told = sorted(text for text in details if text)
    return {"frames": len(neighbour.sent_ns)} | summarise(neighbour) | {"ends": dict(ends), "told": told}


def format_row(kind: str, result: dict[str, Any]) -> str:
    """Return one line of the table."""
    times = [
        "/".join(f"{result[f'{name}_{label}_ms']:.2f}" for label in ("p50", "p99", "max")) for name in ("send", "recv")
    ]
    ends = ", ".join(f"{count} {end}" for end, count in result["ends"].items())
    return f"{kind:<14}{times[0]:>20}{times[1]:>20}  {ends or 'under way'}"


async def _start_agent(kind: str) -> tuple[asyncio.subprocess.Process, str]:
    command = [sys.executable, hostile_kinds.__file__, kind]
    process = await child.start_child(command, stderr=None)
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode().strip()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the kinds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}; all if none is given")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    if unknown := [kind for kind in options.kinds if kind not in KINDS]:
        parser.error(f"there is no kind {unknown[0]!r}; there are {', '.join(KINDS)}")
    print(f"{'':<14}{'sent late, ms':>20}{'loop away, ms':>20}  (p50/p99/max)")
    results = {}
    with raised_priority():
        for kind in options.kinds or KINDS:
            results[kind] = asyncio.run(measure_kind(kind, options.seconds))
            print(format_row(kind, results[kind]), flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
