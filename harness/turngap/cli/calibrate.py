"""`turngap calibrate`: the reference agent measured with the ordinary caller, printed as a table or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from turngap_agent.errors import UsageError

from turngap import api
from turngap.calibration import idleness
from turngap.calibration.calibrate import BIAS_MS, LARGEST_MS, SD_MS, Calibration, Errors
from turngap.model.result import Verdict
from turngap.progress import PipeConsole


def parse_delays(text: str) -> list[float]:
    """Return the delays, ms, that the command line lists with commas between them.

    Raises:
        UsageError: one of them is no number of milliseconds from 0 to 30,000.
    """
    delays = []
    for part in text.split(","):
        try:
            delay = float(part)
        except ValueError:
            delay = -1.0
        if not 0 <= delay <= api.LONGEST_DELAY_MS:
            raise UsageError(
                f"--delays {text!r}: {part.strip()!r} must be a number from 0 to "
                f"{api.LONGEST_DELAY_MS:.0f} (ms); give delays as in 150,300,800"
            )
        delays.append(delay)
    return delays


def run(delays_ms: Sequence[float], turns: int, *, as_json: bool) -> int:
    """Calibrate and print; return the exit code: 0 where the error is within the limits, else 2.

    Raises:
        UsageError: `turns` is not from 1 to 10,000.
        HarnessError: the reference agent did not start.
    """
    calibration = api.calibrate(delays_ms, turns=turns)
    if as_json:
        print(json.dumps(calibration.to_json(), indent=2))
    else:
        print_calibration(calibration, PipeConsole())
    return 0 if calibration.valid else Verdict.INVALID.exit_code


def print_calibration(calibration: Calibration, console: Console) -> None:
    """Print each delay in both conventions, whether the machine was idle, and whether the calibration is valid."""
    table = Table(title="The instrument's own error, ms", title_justify="left")
    for heading in ("delay", "t0 is", "turns", "missed", "bias (median)", "sd", "largest"):
        table.add_column(heading, justify="left" if heading == "t0 is" else "right")
    for row in calibration.delays:
        own = Errors(row.n, row.bias_median_ms, row.sd_ms, row.max_abs_error_ms)
        table.add_row(f"{row.delay_ms:g}", "its sample", *_format_errors(own, str(row.missed)))
        table.add_row("", "frame sent", *_format_errors(row.frame_convention, ""))
    console.print(table)
    idle = calibration.idle
    load = f"load a core {idle.load_per_core:.2f}, timer p99 {idle.timer_p99_ms:.2f} ms late"
    load += f", {idle.stolen_share:.2%} of the CPU time stolen by its host"
    bounds = f"idle is under {idleness.LOAD:g}, {idleness.TIMER_MS:g} ms and {idleness.STOLEN_SHARE:.1%}"
    state = "idle" if idle.idle else "NOT idle, so the errors are those of the instrument under this load"
    limits = f"|bias| <= {BIAS_MS:g} ms, sd <= {SD_MS:g} ms, largest <= {LARGEST_MS:g} ms, no answer missed"
    verdict = "valid" if calibration.valid else "INVALID: give the machine's cores to the calibration alone"
    for line in (f"the machine was {state}: {load} ({bounds})", f"{verdict} ({limits})"):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _format_errors(errors: Errors, missed: str) -> tuple[str, ...]:
    bias = "–" if errors.bias_median_ms is None else f"{errors.bias_median_ms:+.2f}"
    rest = ("–" if value is None else f"{value:.2f}" for value in (errors.sd_ms, errors.max_abs_error_ms))
    return (str(errors.n), missed, bias, *rest)
