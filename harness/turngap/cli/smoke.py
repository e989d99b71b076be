"""`turngap smoke`: the checks, the live run, and its results on the terminal."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from turngap_agent import errors
from turngap_agent.errors import LiveError, TurngapError

from turngap.api.results import Run
from turngap.cli.run import print_document, print_report_path, print_what_ended_it
from turngap.clock import SystemClock
from turngap.live import option_checks
from turngap.live.call_ledger import CallLedger
from turngap.live.server import VOICE, open_listener
from turngap.live.smoke_plan import SmokeOptions, SmokePlan
from turngap.live.smoke_run import run_live
from turngap.model.live import LiveSummary
from turngap.model.plural import plural
from turngap.progress import ConsoleProgress, PipeConsole
from turngap.report.terminal import print_summary
from turngap.session.interruption import run_interruptible

INTERRUPTED = "interrupted; no call is in progress"
_PACKAGES = (Path(__file__).parents[1], Path(errors.__file__).parent)
"""The folders of `turngap` and `turngap_agent`."""
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A closed terminal (SIGHUP) ends the current call too."""


def run_smoke(
    options: SmokeOptions, *, as_json: bool, dry_run: bool, environment: Mapping[str, str] = os.environ
) -> int:
    """Place the calls and print the result, or only check the options with `dry_run`; return the exit code.

    Raises:
        TurngapError: nothing was measured; one masked line.
    """
    plan = option_checks.make_plan(options, environment)
    if dry_run:
        _print_dry_run(plan, as_json=as_json)
        return 0
    error_console, results = PipeConsole(stderr=True), PipeConsole(stderr=as_json)
    try:
        with ConsoleProgress(error_console, "smoke") as display:
            finished = run_interruptible(
                lambda stop: run_live(plan, display, clock=SystemClock(), stop=stop), display, _STOP_SIGNALS
            )
    except KeyboardInterrupt:
        raise LiveError(INTERRUPTED) from None
    except TurngapError as error:
        raise type(error)(plan.masker.text(str(error)), code=error.code) from None
    except Exception as error:  # noqa: BLE001  # a bug: its text and its traceback could contain a number
        where = _last_own_line(error)
        raise LiveError(plan.masker.text(f"a bug in turngap, {where}: {type(error).__name__}: {error}")) from None
    run = Run(finished.folder.path, error=finished.error, interrupted=finished.interrupted)
    codes = [run.verdict.exit_code]
    if run.record.n_turns:
        print_summary(run.record, results)
    if run.record.live is not None:
        print_legs(run.record.live, results)
    codes += print_what_ended_it(run, results, error_console)
    if run.record.n_turns:
        codes += print_report_path(run, results, error_console)
    results.print(f"run: {run.path}", highlight=False, markup=False, soft_wrap=True)
    if as_json:
        print_document(json.dumps(json_summary(run), indent=2))
    return max(codes)


def json_summary(run: Run) -> dict[str, Any]:
    """Return the document that `--json` prints, with the medians first."""
    live = run.record.live
    assert live is not None
    return {
        "uplink_ms": live.uplink_ms,
        "server_gap_ms": live.server_gap_ms,
        "downlink_ms": live.downlink_ms,
        "total_ms": live.total_ms,
        "turns": live.turns,
        "verdict": run.verdict.value,
        "floor_ms": live.floor.total_ms if live.floor is not None else None,
        "jitter_ms": live.jitter_ms,
        "witness": live.witness.model_dump(mode="json") if live.witness is not None else None,
        "remarks": list(live.remarks),
        "run": str(run.path),
    }


def print_legs(live: LiveSummary, console: Console) -> None:
    """Print the medians of the legs, the echo and the check against the recording."""
    parts = [
        f"{name} {value:.0f} ms"
        for name, value in (
            ("uplink", live.uplink_ms),
            ("server gap", live.server_gap_ms),
            ("downlink", live.downlink_ms),
            ("mouth to ear", live.total_ms),
        )
        if value is not None
    ]
    lines = [f"medians over {plural(live.turns, 'answered turn')}: {', '.join(parts)}" if parts else "no answered turn"]
    if live.floor is not None and live.floor.total_ms is not None:
        lines.append(f"the loop's minimum latency, to an echo: {live.floor.total_ms:.0f} ms (not subtracted)")
    if live.witness is not None and live.witness.median_difference_ms is not None:
        lines.append(
            f"in Twilio's recording, mouth to ear differs by {live.witness.median_difference_ms:+.1f} ms "
            f"(median of {plural(live.witness.n, 'turn')}; channel {live.witness.caller_channel} is the caller's)"
        )
    for line in (*lines, *live.remarks):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _print_dry_run(plan: SmokePlan, *, as_json: bool) -> None:
    """Check the port and the call ledger, and print what a run would do."""
    open_listener(plan.host, plan.port).close()
    clock = SystemClock()
    if plan.ledger is not None:
        with CallLedger(plan.ledger) as call_ledger:
            call_ledger.check(plan.cost.calls, clock.unix_ns())
    turns = sum(len(call.turns) for call in plan.request.calls)
    document = {
        "dry_run": True,
        "calls": plan.cost.calls,
        "turns": turns,
        "to": plan.masker.text(plan.to),
        "from": plan.masker.text(plan.from_),
        "time_limit_s": plan.time_limit_s,
        "worst_case_usd": plan.cost.usd,
        "measures": "the caller's leg only" if plan.caller_leg_only else f"both legs, with {plan.label} behind {VOICE}",
    }
    if as_json:
        print(json.dumps(document, indent=2))
        return
    console = PipeConsole()
    text = (
        f"dry run: {plural(plan.cost.calls, 'call')} from {document['from']} to {document['to']}, "
        f"{plural(turns, 'turn')}, {document['measures']}; "
        f"each ended by Twilio after {plan.time_limit_s} s; {plan.cost.sentence}. Nothing was dialled; not checked: "
        "the credentials, the public URL and the number's voice URL."
    )
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _last_own_line(error: BaseException) -> str:
    """Return the last line of turngap in the traceback: file name and line number, no values."""
    trace, line = error.__traceback__, "unknown line"
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if any(file.is_relative_to(package) for package in _PACKAGES):
            line = f"{file.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return line
