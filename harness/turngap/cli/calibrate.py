"""What `turngap calibrate` does: the reference agent measured with the ordinary caller, printed as a table or JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from turngap_agent.errors import UsageError

from turngap.calibration import idleness
from turngap.calibration.calibrate import (
    BIAS_MS,
    LARGEST_MS,
    SD_MS,
    Calibration,
    Errors,
    calibrate,
)
from turngap.caller.priority import ahead
from turngap.caller.scheduler import Scheduler
from turngap.clock import SystemClock
from turngap.model.result import Verdict

LONGEST_DELAY_MS = 30_000.0
MOST_TURNS = 10_000
SIMULTANEOUS_CALLS = 5
"""As before every run."""


def parse_delays(text: str) -> list[float]:
    """Delays, ms, from what stands on the command line.

    Raises:
        UsageError: one of them is no number of milliseconds from 0 to 30,000.
    """
    found = []
    for part in text.split(","):
        try:
            delay = float(part)
        except ValueError:
            delay = -1.0
        if not 0 <= delay <= LONGEST_DELAY_MS:
            raise UsageError(
                f"--delays {text!r}: {part.strip()!r} is no delay from 0 to {LONGEST_DELAY_MS:.0f} ms; "
                "give them as in 150,300,800"
            )
        found.append(delay)
    return found


def run(delays_ms: Sequence[float], turns: int, *, as_json: bool) -> int:
    """Calibrate and print; gives the exit code: 0 within the bars, 2 not.

    Raises:
        UsageError: `turns` is not from 1 to 10,000.
        HarnessError: the reference agent did not start.
    """
    if not 1 <= turns <= MOST_TURNS:
        raise UsageError(f"--turns {turns}: 1 to {MOST_TURNS} turns can be measured for each delay")
    with ahead():
        found = asyncio.run(_measure(delays_ms, turns))
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        show(found, Console())
    return 0 if found.valid else Verdict.INVALID.exit_code


def show(found: Calibration, console: Console) -> None:
    """Print a calibration: each delay in both conventions, whether the machine was idle, and what that amounts to."""
    table = Table(title="The instrument's own error, ms", title_justify="left")
    for heading in ("delay", "t0 is", "turns", "missed", "bias (median)", "sd", "largest"):
        table.add_column(heading, justify="left" if heading == "t0 is" else "right")
    for row in found.delays:
        own = Errors(row.n, row.bias_median_ms, row.sd_ms, row.max_abs_error_ms)
        table.add_row(f"{row.delay_ms:g}", "its sample", *_cells(own, str(row.missed)))
        table.add_row("", "frame sent", *_cells(row.frame_convention, ""))
    console.print(table)
    seen = found.idle
    load = f"load a core {seen.load_per_core:.2f}, timer p99 {seen.timer_p99_ms:.2f} ms late"
    load += f", {seen.stolen_share:.2%} of the CPU time stolen by its host"
    bounds = f"idle is under {idleness.LOAD:g}, {idleness.TIMER_MS:g} ms and {idleness.STOLEN_SHARE:.1%}"
    state = "idle" if seen.idle else "NOT idle, so the errors are those of the instrument under this load"
    bars = f"|bias| <= {BIAS_MS:g} ms, sd <= {SD_MS:g} ms, largest <= {LARGEST_MS:g} ms, no answer missed"
    verdict = "valid" if found.valid else "INVALID: give the machine's cores to the calibration alone"
    for line in (f"the machine was {state}: {load} ({bounds})", f"{verdict} ({bars})"):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


async def _measure(delays_ms: Sequence[float], turns: int) -> Calibration:
    clock = SystemClock()
    async with Scheduler(clock).running() as scheduler:
        return await calibrate(delays_ms, turns, clock=clock, scheduler=scheduler, calls=SIMULTANEOUS_CALLS)


def _cells(errors: Errors, missed: str) -> tuple[str, ...]:
    bias = "–" if errors.bias_median_ms is None else f"{errors.bias_median_ms:+.2f}"
    rest = ("–" if value is None else f"{value:.2f}" for value in (errors.sd_ms, errors.max_abs_error_ms))
    return (str(errors.n), missed, bias, *rest)
