"""What benchmarks share: promises with their figures, the exit code, tables and formats."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from turngap_agent.errors import TurngapError

UNUSABLE = 2
"""Exit code: nothing was measured, as something that was asked for is missing; argparse uses the same."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What is promised, and the figure that was measured."""

    promise: str
    figure: str
    """As printed, with its unit."""
    value: float | None
    """The figure as a number; None if it was not measured."""
    holds: bool | None
    """None: for information only, or not measured in this run."""


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a benchmark's command line with `--json`; its description is the docstring's first line."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    return parser


def print_progress(text: str) -> None:
    """Print one line of progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def run_main(main: Callable[[], int]) -> int:
    """Run a benchmark; return its exit code, or print an error on stderr and return `UNUSABLE`."""
    try:
        return main()
    except TurngapError as error:
        print_progress(str(error))
        return UNUSABLE


def check_at_most(promise: str, value: float | None, at_most: float, unit: str = "ms", digits: int = 2) -> Promise:
    """Return the promise that `value` is at most `at_most`; it does not hold for a value that is None or NaN."""
    if value is None:
        return Promise(promise, "not measured", None, holds=False)
    return Promise(promise, f"{value:.{digits}f} {unit}", value, holds=value <= at_most)


def print_result(title: str, promises: Sequence[Promise], details: Mapping[str, Any], *, as_json: bool) -> int:
    """Print the promises with their figures; return the exit code: 0 if all hold, else 1."""
    holds = bool(promises) and all(promise.holds is not False for promise in promises)
    if as_json:
        rows = [asdict(promise) for promise in promises]
        print(json.dumps({"benchmark": title, "holds": holds, "promises": rows, **details}, indent=2))
        return 0 if holds else 1
    table = Table(title=title, title_justify="left")
    for heading in ("promise", "figure", ""):
        table.add_column(heading, justify="right" if heading == "figure" else "left", overflow="fold")
    for promise in promises:
        table.add_row(
            promise.promise, promise.figure, {True: "holds", False: "DOES NOT HOLD", None: "–"}[promise.holds]
        )
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table, markup=False)
    console.print("all promises hold" if holds else "SOME PROMISES DO NOT HOLD")
    return 0 if holds else 1


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool) -> None:
    """Print a table, on stderr if stdout is used for JSON."""
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(stderr=as_json, width=None if sys.stdout.isatty() else 140).print(table, markup=False)


def format_number(value: float | None, unit: str = "ms", digits: int = 0) -> str:
    """Return a value with its unit; – for None."""
    return "–" if value is None else f"{value:.{digits}f} {unit}"


def format_percent(value: float | None, digits: int = 1) -> str:
    """Return a share as a percentage; – for None."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"
