"""The command lines of `turngap report` and `turngap compare`: what a folder holds decides what is rendered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from turngap_agent.errors import UsageError

from turngap.cli.option_texts import REPORT, RUN


def report(
    run: Annotated[str, typer.Argument(help=f"{RUN} Or a sweep, or a capacity run.")],
    out: Annotated[Path | None, typer.Option(help=f"The HTML file. [default: {REPORT}]")] = None,
    baseline: Annotated[str | None, typer.Option(help="Compare it with this run: its folder, or its id.")] = None,
) -> None:
    """Re-render the report of a run, a sweep or a capacity run. Unfinished runs are rendered with what they have."""
    from turngap import api
    from turngap.api.capacity import is_capacity, load_capacity

    path = api.find_run(run)
    if is_capacity(path):
        print(load_capacity(path).report(out, beside=[] if baseline is None else [baseline]))
    elif not api.is_sweep(path):
        print(api.load(path).report(out, baseline=baseline))
    elif baseline is not None:
        raise UsageError("--baseline: a sweep's settings are compared with one another; give a run")
    else:
        print(api.load_sweep(path).report(out))


def compare(
    head: Annotated[str, typer.Argument(help=f"{RUN} Or a capacity run.")],
    base: Annotated[str, typer.Argument(help="The one to compare it with, of the same kind: its folder, or its id.")],
    fail_on_worse: Annotated[
        bool, typer.Option("--fail-on-worse", help="Exit code 1 if anything became slower or worse.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Compare two runs: centre, tail and outcomes, what became slower or worse, and in which stage."""
    from turngap import api
    from turngap.api.capacity import is_capacity
    from turngap.cli import capacity
    from turngap.cli import compare as command
    from turngap.progress import PipeConsole

    if is_capacity(api.find_run(head)):
        if fail_on_worse:
            raise UsageError("--fail-on-worse: capacity runs are shown side by side, not judged against each other")
        raise typer.Exit(capacity.compare([head, base], None, as_json=as_json))
    change = command.run(head, base, as_json=as_json, console=PipeConsole())
    raise typer.Exit(int(fail_on_worse and change.is_worse))
