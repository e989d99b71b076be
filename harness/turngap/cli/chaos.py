"""`turngap chaos`: faults in an agent on purpose, a table of what callers heard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from turngap_agent.errors import HarnessError

from turngap.chaos.conversations import make_callers
from turngap.chaos.judgement import ChaosRow, NeighbourFigures
from turngap.chaos.plan import ChaosRequest
from turngap.chaos.running import ChaosRun
from turngap.cli.run import print_document, print_error
from turngap.clock import SystemClock
from turngap.model.plural import plural
from turngap.progress import ConsoleProgress, PipeConsole
from turngap.session.interruption import run_interruptible
from turngap.session.preparation import fetch_weights

INTERRUPTED = "interrupted"
LOST, PASSED = 1, 0


def run(request: ChaosRequest, *, as_json: bool) -> int:
    """Inject the faults and print what came of them; return 0 if all were survived, 1 if not, 2 if interrupted.

    Raises:
        TurngapError: the agent did not start, or what it needs could not be fetched.
    """
    errors, figures = PipeConsole(stderr=True), PipeConsole(stderr=as_json)
    fetch_weights(request.profile.model_dump(mode="json"))
    interrupted = False
    with ConsoleProgress(errors, "chaos") as display:
        callers = make_callers(request.profile, request.seed, display.show_message)
        display.show_message(f"{plural(len(request.faults), 'fault')}, profile {request.profile.name}")
        chaos: ChaosRun | None = None

        def show_row(row: ChaosRow) -> None:
            assert chaos is not None
            display.show_message(f"{len(chaos.rows)}/{len(request.faults)} {describe_row(row)}")

        async def work(stop: Any) -> None:
            nonlocal chaos
            chaos = ChaosRun(request, callers, SystemClock(), stop, display.show_message, show_row)
            display.calls_started = True
            await chaos.run()

        try:
            run_interruptible(work, display)
        except KeyboardInterrupt:
            interrupted = True
    assert chaos is not None
    rows = [chaos.rows[number] for number in sorted(chaos.rows)]
    print_rows(rows, chaos.alone_gap_ms, figures)
    if as_json:
        print_document(json.dumps(to_document(request, rows, chaos.alone_gap_ms), indent=2))
    if interrupted or len(rows) < len(request.faults):
        return print_error(errors, HarnessError(f"{INTERRUPTED}: {len(rows)} of {len(request.faults)} were tried"))
    return PASSED if all(row.survived for row in rows) else LOST


def to_document(request: ChaosRequest, rows: Sequence[ChaosRow], alone_gap_ms: float | None) -> dict[str, Any]:
    """Return the document that `--json` prints."""
    survived = sum(row.survived for row in rows)
    return {
        "profile": request.profile.name,
        "seed": request.seed,
        "injected": len(rows),
        "survived": survived,
        "lost": len(rows) - survived,
        "longest_silence_ms": max((row.longest_silence_ms for row in rows), default=None),
        "gap_alone_ms": alone_gap_ms,
        "rows": [row.to_json() for row in rows],
    }


def describe_row(row: ChaosRow) -> str:
    """Return one line about a fault: what it was, and whether it was survived."""
    fault = f"{row.stage} {row.fault} {row.moment} {row.times}"
    return f"{fault}: {'survived' if row.survived else 'LOST: ' + '; '.join(row.reasons)}"


def print_rows(rows: Sequence[ChaosRow], alone_gap_ms: float | None, console: Console) -> None:
    """Print the table, by stage, and the counts."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("stage", "fault", "moment", "", "heard", "silence", "neighbour", "next call", ""):
        table.add_column(column, overflow="fold")
    for row in sorted(rows, key=lambda row: (row.stage, row.fault, row.times, row.moment)):
        table.add_row(
            row.stage,
            row.fault,
            row.moment,
            row.times,
            ", ".join(row.heard),
            f"{row.longest_silence_ms:.0f} ms",
            _describe_neighbour(row.neighbour),
            row.next_call if row.next_gap_ms is None else f"{row.next_call}, {row.next_gap_ms:.0f} ms",
            "survived" if row.survived else "LOST: " + "; ".join(row.reasons),
        )
    console.print(table, markup=False)
    survived = sum(row.survived for row in rows)
    alone = "" if alone_gap_ms is None else f"; gap without a fault {alone_gap_ms:.0f} ms"
    console.print(
        f"{len(rows)} injected, {survived} survived, {len(rows) - survived} lost{alone}", highlight=False, markup=False
    )


def _describe_neighbour(figures: NeighbourFigures) -> str:
    sorry = f", {plural(figures.apologised, 'apology', 'apologies')}" if figures.apologised else ""
    worst = "–" if figures.worst_gap_ms is None else f"{figures.worst_gap_ms:.0f} ms"
    return f"{figures.answered}/{figures.turns}{sorry}, {worst}"
