"""`turngap smoke`: the checks, the live run, and its figures on the terminal."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from turngap_agent.errors import LiveError, TurngapError

from turngap.api_results import Run
from turngap.cli.run import print_report_path, print_what_ended_it
from turngap.clock import SystemClock
from turngap.live import option_checks
from turngap.live.call_ledger import CallLedger
from turngap.live.server import VOICE, open_listener
from turngap.live.smoke_plan import SmokeOptions, SmokePlan
from turngap.live.smoke_run import run_live
from turngap.model.live import LiveSummary
from turngap.model.plural import plural
from turngap.progress import ConsoleProgress
from turngap.report.terminal import print_summary
from turngap.session.interruption import run_interruptible

INTERRUPTED = "interrupted; no call goes on"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A closed terminal, too, ends the call under way."""


def run(options: SmokeOptions, *, as_json: bool, dry: bool, environment: Mapping[str, str] = os.environ) -> int:
    """Place the calls, or with `dry` do all but that; return the exit code.

    Raises:
        TurngapError: nothing was measured; one line, with nothing in it that must not be seen.
    """
    plan = option_checks.make(options, environment)
    if dry:
        _rehearse(plan, as_json=as_json)
        return 0
    errors, figures = Console(stderr=True), Console(stderr=as_json)
    try:
        with ConsoleProgress(errors, "smoke") as display:
            finished = run_interruptible(
                lambda stop: run_live(plan, display, clock=SystemClock(), stop=stop), display, _SIGNALS
            )
    except KeyboardInterrupt:
        raise LiveError(INTERRUPTED) from None
    except TurngapError as fault:
        raise type(fault)(plan.masker.text(str(fault))) from None
    except Exception as fault:  # noqa: BLE001  # a fault of ours: its text and its trace could hold a number
        where = _where(fault)
        raise LiveError(plan.masker.text(f"a fault in turngap, {where}: {type(fault).__name__}: {fault}")) from None
    run = Run(finished.folder.path, error=finished.error, interrupted=finished.interrupted)
    codes = [run.verdict.exit_code]
    if run.record.n_turns:
        print_summary(run.record, figures)
    if run.record.live is not None:
        show(run.record.live, figures)
    codes += print_what_ended_it(run, figures, errors)
    if run.record.n_turns:
        codes += print_report_path(run, figures, errors)
    figures.print(f"run: {run.path}", highlight=False, markup=False, soft_wrap=True)
    if as_json:
        print(json.dumps(json_summary(run), indent=2))
    return max(codes)


def json_summary(run: Run) -> dict[str, Any]:
    """What `--json` prints: the medians first."""
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


def show(live: LiveSummary, console: Console) -> None:
    """The legs, the floor and the witness in a few lines."""
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
        lines.append(f"the loop's own floor, an echo: {live.floor.total_ms:.0f} ms (not subtracted)")
    if live.witness is not None and live.witness.median_difference_ms is not None:
        lines.append(
            f"Twilio's recording as a witness: {live.witness.median_difference_ms:+.1f} ms beside the live figure "
            f"(median of {plural(live.witness.n, 'turn')}; channel {live.witness.caller_channel} is the caller's)"
        )
    for line in (*lines, *live.remarks):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _rehearse(plan: SmokePlan, *, as_json: bool) -> None:
    """All but the network: the port, the ledger's room, and what would be done."""
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
        "measures": "the caller's leg alone" if plan.alone else f"both legs, with {plan.label} behind {VOICE}",
    }
    if as_json:
        print(json.dumps(document, indent=2))
        return
    console = Console()
    text = (
        f"dry run: {plural(plan.cost.calls, 'call')} from {document['from']} to {document['to']}, "
        f"{plural(turns, 'turn')}, {document['measures']}; "
        f"each ended by Twilio after {plan.time_limit_s} s; {plan.cost.sentence}. Nothing was dialled; not checked: "
        "the credentials, the public URL and the number's voice URL."
    )
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _where(fault: BaseException) -> str:
    """The last line of ours in a trace: file and number, no values."""
    trace, place = fault.__traceback__, "somewhere"
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if "turngap" in name:
            place = f"{name.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
