"""What `turngap run` and `turngap report` do, once the command line is understood."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from turngap_agent.errors import HarnessError, TurngapError, format_error

from turngap import report
from turngap.cli.display import Display
from turngap.clock import SystemClock
from turngap.report.terminal import print_summary
from turngap.session import run_record
from turngap.session.plan import Request
from turngap.session.preparation import prepare
from turngap.session.runner import FinishedRun, run_request
from turngap.store import folder as store
from turngap.store.folder import RunFolder
from turngap.verdict import gate, summary
from turngap.verdict.budget import Budget
from turngap.verdict.gate import Evidence

Result = TypeVar("Result")
INTERRUPTED = "interrupted before the run started: nothing is kept"


def run_all(requests: Sequence[Request], *, as_json: bool) -> int:
    """Do one run after the other, each with its report; gives the worst exit code."""
    news, figures = Console(stderr=True), Console(stderr=as_json)
    codes, documents = [0], []
    for asked in requests:
        try:
            finished = _run_one(asked, news)
            documents.append(finished.record.model_dump(mode="json"))
            codes += [finished.record.verdict.exit_code, *_close(finished, figures, news)]
        except TurngapError as fault:
            codes.append(complain(news, fault))
            continue
        except KeyboardInterrupt as interrupt:
            codes.append(complain(news, HarnessError(str(interrupt) or INTERRUPTED)))
            break
        if finished.interrupted:
            break
    if as_json and documents:
        print(json.dumps(documents[0] if len(requests) == 1 else documents, indent=2))
    return max(codes)


def report_again(folder: Path, out: Path | None = None, baseline: Path | None = None) -> Path:
    """Render a run's report, beside the run in folder `baseline` if there is one; gives the file.

    The figures of a run that did not end are made from the turns it has.

    Raises:
        RunFolderError: it is no run folder, or damaged.
        HarnessError: the report can't be written.
    """
    found = store.read(folder)
    scored = sum(turn.scored for turn in found.turns)
    # A run that a fault ended has its verdict, with the fault in it; only one that was killed is judged here.
    if not found.record.complete and (not found.record.validity or scored != found.record.n_turns):
        budget = Budget.model_validate(found.record.budget) if found.record.budget else None
        profile = found.record.profile_data
        weightless = bool(profile.get("weightless"))
        evidence = Evidence(planned_turns=found.record.planned_turns, complete=False, weightless=weightless)
        judged = gate.judge_run(found.turns, evidence, budget)
        verdict = {
            "verdict": judged.verdict,
            "sentence": run_record.with_caveat(judged.sentence, profile),
            "reasons": judged.reasons,
            "validity": judged.checks,
        }
        RunFolder(folder).write(summary.recompute_figures(found.record, found.turns).model_copy(update=verdict))
    file = out or report_path(folder)
    report.render(folder, file, baseline)
    return file


def report_path(folder: Path) -> Path:
    """Where a run's report goes: results/ID has it in reports/ID.html beside `results`; any other folder, inside."""
    folder = folder.resolve()
    if folder.parent.name == "results":
        return folder.parent.parent / "reports" / f"{folder.name}.html"
    return folder / "report.html"


def complain(console: Console, fault: TurngapError) -> int:
    """Print a fault, if it says anything; gives its exit code."""
    if str(fault):
        console.print(format_error(str(fault)), highlight=False, markup=False, soft_wrap=True)
    return fault.exit_code


def _run_one(asked: Request, news: Console) -> FinishedRun:
    with Display(news, asked.scenario.name) as display:
        asked, clips = prepare(asked, display.show_message)
        return asyncio.run(
            interruptible(lambda stop: run_request(asked, clips, display, clock=SystemClock(), stop=stop), display)
        )


async def interruptible(
    work: Callable[[asyncio.Event], Awaitable[Result]],
    display: Display,
    signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
) -> Result:
    """Do `work`; Ctrl-C while calls are placed sets its event, earlier or again it ends everything at once.

    Raises:
        KeyboardInterrupt: it was ended at once.
    """
    stop = asyncio.Event()
    loop, running = asyncio.get_running_loop(), asyncio.current_task()
    assert running is not None

    def interrupt() -> None:
        if display.begun and not stop.is_set():
            display.show_message("interrupted; finishing up")
            stop.set()
        else:
            running.cancel()

    for number in signals:
        loop.add_signal_handler(number, interrupt)
    try:
        return await work(stop)
    except asyncio.CancelledError as cancelled:
        raise KeyboardInterrupt(*cancelled.args) from None
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _close(finished: FinishedRun, figures: Console, news: Console) -> list[int]:
    """Show what came of a run and render its report; gives the exit codes of what went wrong."""
    codes = []
    path = finished.folder.path
    if finished.record.n_turns:
        turns = store.read(path).turns if len(finished.record.networks) > 1 else ()
        print_summary(finished.record, figures, turns)
    elif finished.error is None:
        figures.print(f"{finished.record.verdict}  {finished.record.sentence}", highlight=False, markup=False)
    codes += ended(finished, figures, news)
    if finished.record.n_turns:
        try:
            report.render(path, report_path(path))
            figures.print(f"report: {report_path(path)}", highlight=False, markup=False, soft_wrap=True)
        except TurngapError as fault:
            codes.append(complain(news, fault))
    figures.print(f"run: {path}", highlight=False, markup=False, soft_wrap=True)
    return codes


def ended(finished: FinishedRun, figures: Console, news: Console) -> list[int]:
    """Say what ended a run before its time, where its sentence does not stand on the same screen; gives exit codes."""
    if finished.error is None:
        return []
    if finished.record.n_turns and figures.is_terminal and str(finished.error) in finished.record.sentence:
        return [finished.error.exit_code]
    return [complain(news, finished.error)]
