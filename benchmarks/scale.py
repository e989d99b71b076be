"""Plans a fleet for 1,000 and 100,000 calls under way: measures one core at several loads, fits, checks, and simulates.

    python -m benchmarks.scale [--loads 4,16,24,32] [--held-out 24] [--rounds 3] [--json]   about 7 minutes
    python -m benchmarks.scale --points results/scale.json                                  reads finished points
    python -m benchmarks.scale --gpus                                                       no measurement: GPUs alone

An agent with scripted engines is called at several loads in alternation. From all but one load follow what a call costs
each core, and the gap without load; the simulation then predicts the load that was held out, and is compared with what
was measured there. Nothing about a GPU is measured here: its figures are assumptions, and are printed as such.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from turngap.caller.priority import raised_priority
from turngap_agent.errors import UsageError

from benchmarks import scale_points
from benchmarks.promises import (
    Promise,
    check_at_most,
    make_parser,
    print_progress,
    print_result,
    print_table,
    run_main,
)
from benchmarks.scale_fleet import (
    CALLERS,
    Assumptions,
    MeasuredCore,
    frame_bytes,
    hourly_cost,
    list_core_needs,
    list_gpu_needs,
    network_mbit_s,
)
from benchmarks.scale_points import Point
from benchmarks.scale_simulation import Machine, Talk, simulate

FLEETS = (1_000, 100_000)
CORES_WITHIN, MEDIAN_WITHIN_MS, P95_WITHIN_MS = 0.10, 3.0, 10.0
"""How close the prediction of the held-out load must come; chosen before the first measurement."""
MOST_LEFT_OUT_PCT = 5.0
"""With more turns left out than a p95 leaves, it is none."""
TALK = Talk(speech_s=0.55, reply_s=1.8, pause_s=0.6, silence_ms=200)
"""The talk of the measured points: bursts of about half a second, and a scripted reply of 36 characters."""
TELEPHONE = Talk(speech_s=1.9, reply_s=2.5, pause_s=1.0, silence_ms=416)
"""The talk of the plan: the gate's utterances are 1.9 s on average; reply and pause are assumed."""


def fit_core(points: Sequence[Point]) -> MeasuredCore:
    """Return what a call costs, by least squares over the points, and the gaps at the smallest load."""
    calls = np.asarray([point.calls for point in points], np.float64)
    (agent, _), (caller, _) = (
        np.polyfit(calls, [getattr(point, name) for point in points], 1) for name in ("agent_cores", "caller_cores")
    )
    if agent <= 0 or caller <= 0:
        raise UsageError("more calls cost no more CPU time in these points: the machine was busy; measure it when idle")
    least = min(point.calls for point in points)
    gaps = tuple(gap for point in points if point.calls == least for gap in point.gaps_ms)
    if not gaps:
        raise UsageError(f"no turn of {least} calls can be used: the machine was busy; measure it when idle")
    return MeasuredCore(float(caller), 1e6 * float(agent) / 50, gaps)


def predict_cores(points: Sequence[Point], calls: int, name: str = "agent_cores") -> float:
    """Return the cores that so many calls take, by the line through the points."""
    line = np.polyfit([point.calls for point in points], [getattr(point, name) for point in points], 1)
    return float(np.polyval(line, calls))


def check_held_out(points: Sequence[Point], held_out: int) -> list[Promise]:
    """Return how well the load that was held out is predicted from the others."""
    fitted = [point for point in points if point.calls != held_out]
    there = [point for point in points if point.calls == held_out]
    if not there or len({point.calls for point in fitted}) < 2:
        raise UsageError(f"--held-out {held_out}: it must be one of the loads, with two others or more")
    core = fit_core(fitted)
    gaps = [gap for point in there for gap in point.gaps_ms]
    if not gaps:
        raise UsageError(f"no turn of {held_out} calls can be used: the machine was busy; measure it when idle")
    left_out_pct = 100 * sum(point.late for point in points) / max(1, sum(point.turns for point in points))
    seen = simulate(Machine(TALK, loop_us=core.loop_us, floor_ms=core.floor_ms), held_out, seconds=20, warm_s=3)
    cores = float(np.mean([point.agent_cores for point in there]))
    predicted = predict_cores(fitted, held_out)
    rows = [
        ("agent's cores", predicted, cores, abs(predicted - cores) / cores, CORES_WITHIN, "{:.1%} off"),
        *(
            (
                name,
                seen.gap(q),
                float(np.quantile(gaps, q)),
                abs(seen.gap(q) - np.quantile(gaps, q)),
                within,
                "{:.1f} ms off",
            )
            for name, q, within in (("median gap, ms", 0.5, MEDIAN_WITHIN_MS), ("p95, ms", 0.95, P95_WITHIN_MS))
        ),
    ]
    return [
        *(
            Promise(
                f"{held_out} calls, held out: {name} as predicted ({prediction:.2f} against {measured:.2f})",
                text.format(off),
                float(off),
                holds=bool(off <= within),
            )
            for name, prediction, measured, off, within, text in rows
        ),
        check_at_most("turns left out, of all loads", left_out_pct, MOST_LEFT_OUT_PCT, "%"),
    ]


def print_points(points: Sequence[Point], *, as_json: bool) -> None:
    """Print what was measured, by load."""
    rows = []
    for calls in sorted({point.calls for point in points}):
        own = [point for point in points if point.calls == calls]
        gaps = [gap for point in own for gap in point.gaps_ms]
        p50, p95 = np.quantile(gaps, [0.5, 0.95]) if gaps else (np.nan, np.nan)
        rows.append(
            (
                str(calls),
                f"{sum(point.turns for point in own)}",
                f"{sum(point.late for point in own)}",
                f"{p50:.1f} ms",
                f"{p95:.1f} ms",
                f"{np.mean([point.agent_cores for point in own]):.3f}",
                f"{np.mean([point.caller_cores for point in own]):.3f}",
            )
        )
    columns = ("calls", "turns", "left out", "median", "p95", "agent, cores", "caller, cores")
    print_table("measured, loads in alternation", columns, rows, as_json=as_json)


def print_plan(core: MeasuredCore | None, assumed: Assumptions, *, as_json: bool) -> list[dict[str, object]]:
    """Print and return what the fleets need: at the GPU's floors, and three times slower."""
    plans: list[dict[str, object]] = []
    for over_floor in (assumed.over_floor, 3 * assumed.over_floor):
        own = replace(assumed, over_floor=over_floor)
        cores = list_core_needs(core, TELEPHONE, own) if core is not None else []
        needs = [*cores, *list_gpu_needs(TELEPHONE, own)]
        rows = [
            (
                need.what,
                f"{need.calls_a_unit:.0f} a {need.unit}",
                *(f"{need.units(calls, own.spare):,}" for calls in FLEETS),
                need.source,
                need.because,
            )
            for need in needs
        ]
        rows.append(
            (
                "network, each way",
                f"{1e3 * network_mbit_s(1):.0f} kbit/s a call",
                *(f"{network_mbit_s(calls):,.0f} Mbit/s" for calls in FLEETS),
                "counted",
                f"{frame_bytes()} bytes a frame",
            )
        )
        costs = [hourly_cost(needs, calls, own.spare) for calls in FLEETS]
        rows.append(("cost an hour, without callers", "", *(f"${cost:,.0f}" for cost in costs), "assumed prices", ""))
        columns = ("resource", "calls", *(f"{calls:,} calls" for calls in FLEETS), "source", "because")
        print_table(f"fleet, GPU work at {over_floor:g} × its floor", columns, rows, as_json=as_json)
        scarcest = min(
            (need for need in needs if need.calls_a_unit and need.what != CALLERS), key=lambda need: need.calls_a_unit
        )
        print_progress(f"at {over_floor:g} × the floor {scarcest.what} breaks first: {scarcest.calls_a_unit:.0f} calls")
        plans.append({"over_floor": over_floor, "needs": [asdict(need) for need in needs], "cost_an_hour": costs})
    return plans


def read_loads(text: str, held_out: int) -> list[int]:
    """Return the loads that are measured, the one that is held out among them.

    Raises:
        UsageError: one is no number of calls, or the load that is held out is none of them with two others.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"--loads {text!r}: expected whole numbers of calls with commas between, as in 4,16,24,32")
    loads = [int(part) for part in parts]
    if held_out not in loads or len(set(loads)) < 3:
        raise UsageError(f"--held-out {held_out}: it must be one of the loads, with two others or more")
    return loads


def main() -> int:
    """Measure or read the points, check the simulation, print the plan; return 1 if the prediction is off."""
    parser = make_parser(__doc__)
    parser.add_argument("--loads", default="4,16,24,32", help="calls at once, separated by commas")
    parser.add_argument("--held-out", type=int, default=24, help="the load that is predicted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gpus", action="store_true", help="print what GPUs a fleet needs, and measure nothing")
    parser.add_argument("--points", type=Path, help="read finished points instead of measuring")
    parser.add_argument("--out", type=Path, default=Path("results/scale.json"), help="where new points are written")
    parser.add_argument("--over-floor", type=float, default=1.0, help="how much slower than its floor the GPU works")
    options = parser.parse_args()
    if options.rounds < 1:
        raise UsageError(f"--rounds {options.rounds}: at least 1")
    if options.gpus:
        print_plan(None, Assumptions(over_floor=options.over_floor), as_json=False)
        return 0
    points = (
        _read_points(options.points)
        if options.points is not None
        else _measure(read_loads(options.loads, options.held_out), options.rounds, options.out)
    )
    promises = check_held_out(points, options.held_out)
    print_points(points, as_json=options.json)
    core = fit_core([point for point in points if point.calls != options.held_out])
    plans = print_plan(core, Assumptions(over_floor=options.over_floor), as_json=options.json)
    details = {"loop_us": core.loop_us, "caller_cores_a_call": core.caller_cores_a_call, "plans": plans}
    return print_result("the simulation against the held-out load", promises, details, as_json=options.json)


def _measure(loads: Sequence[int], rounds: int, out: Path) -> list[Point]:
    """Measure and store the points."""
    with raised_priority():
        points = asyncio.run(scale_points.measure_points(loads, rounds))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([point.to_json() for point in points], indent=1), "utf-8")
    print_progress(f"points: {out}")
    return points


def _read_points(file: Path) -> list[Point]:
    try:
        rows = json.loads(file.read_text("utf-8"))
        return [Point(**{**row, "gaps_ms": tuple(row["gaps_ms"])}) for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"--points {file}: no points of this benchmark ({error})") from None


if __name__ == "__main__":
    sys.exit(run_main(main))
