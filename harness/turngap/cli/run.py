"""`turngap run`: the runs, one after the other, their summaries on the terminal and their reports."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from rich.console import Console
from turngap_agent import command_line
from turngap_agent.errors import HarnessError, TurngapError, format_error

from turngap import api
from turngap.api.results import Run
from turngap.cli import run_stages
from turngap.progress import PipeConsole
from turngap.report.terminal import print_summary
from turngap.session.request import Request

INTERRUPTED = "interrupted before the run started: nothing is kept"


def run_all(requests: Sequence[Request], *, as_json: bool, stages: bool = False) -> int:
    """Do one run after the other, each with its report, and return the worst exit code.

    With `stages` the engines are measured alone after the calls of each, for the floors in its report.

    Raises:
        UsageError: `stages` of an agent at a URL.
    """
    for request in requests if stages else ():
        run_stages.check_request(request)
    errors, figures = PipeConsole(stderr=True), PipeConsole(stderr=as_json)
    codes, documents = [0], []
    for request in requests:
        try:
            run = api.measure_run(request, progress=True)
        except TurngapError as error:
            codes.append(print_error(errors, error))
            continue
        except KeyboardInterrupt as interrupt:
            codes.append(print_error(errors, HarnessError(str(interrupt) or INTERRUPTED)))
            break
        documents.append(run.record.model_dump(mode="json"))
        if stages and run.record.n_turns and run.error is None and not run.interrupted:
            codes += _measure_stages(request, run, errors)
        codes += [run.verdict.exit_code, *_print_run(run, figures, errors)]
        if run.interrupted:
            break
    if as_json and documents:
        print_document(json.dumps(documents[0] if len(requests) == 1 else documents, indent=2))
    return max(codes)


def print_document(text: str) -> None:
    """Print a document on stdout; a reader that has closed the pipe changes nothing, the exit code neither."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        command_line.discard(sys.stdout)


def print_error(console: Console, error: TurngapError) -> int:
    """Print an error that has a message, and return its exit code."""
    if str(error):
        console.print(format_error(str(error)), highlight=False, markup=False, soft_wrap=True)
    return error.exit_code


def print_what_ended_it(run: Run, figures: Console, errors: Console) -> list[int]:
    """Print the error that ended a run early, unless its sentence is on the same screen; return the exit codes."""
    if run.error is None:
        return []
    if run.record.n_turns and figures.is_terminal and str(run.error) in run.record.sentence:
        return [run.error.exit_code]
    return [print_error(errors, run.error)]


def print_report_path(run: Run | api.Sweep, figures: Console, errors: Console) -> list[int]:
    """Render the report and print where it is; return the exit codes of what went wrong."""
    try:
        figures.print(f"report: {run.report()}", highlight=False, markup=False, soft_wrap=True)
    except TurngapError as error:
        return [print_error(errors, error)]
    return []


def _measure_stages(request: Request, run: Run, errors: Console) -> list[int]:
    """Measure the run's engines alone; return the exit code of what went wrong: the run and its verdict stand."""

    def show(line: str) -> None:
        errors.print(line, highlight=False, markup=False, soft_wrap=True)

    try:
        run_stages.measure_stages(request, run.path, show)
    except TurngapError as error:
        return [print_error(errors, error)]
    except KeyboardInterrupt:
        show("turngap: interrupted: the engines that are left are not measured alone")
    return []


def _print_run(run: Run, figures: Console, errors: Console) -> list[int]:
    codes = []
    if run.record.n_turns:
        print_summary(run.record, figures, run.turn_records)
    elif run.error is None:
        figures.print(f"{run.verdict}  {run.record.sentence}", highlight=False, markup=False)
    codes += print_what_ended_it(run, figures, errors)
    if run.record.n_turns:
        codes += print_report_path(run, figures, errors)
    figures.print(f"run: {run.path}", highlight=False, markup=False, soft_wrap=True)
    return codes
