"""What the benchmarks of the conversation share: a sweep of named settings, run or read, and runs of scenarios."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import turngap
from rich.console import Console
from rich.table import Table
from turngap.model.result import Verdict
from turngap.store import folder as store
from turngap.store.folder import StoredRun
from turngap.sweeps import folder
from turngap.sweeps.points import Point

from benchmarks.common import UNUSABLE

SPECULATIVE = ("endpointing.policy=speculative", "endpointing.min_silence_ms=416")
"""Speculation as it is safe: docs/endpointing.md says why 416 ms."""
Settings = Mapping[str, Sequence[str]]
"""By name, what each sets in the profile."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, measured."""

    point: Point
    run: StoredRun


def options(made: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add what every benchmark with a sweep takes."""
    made.add_argument("--sweep", type=Path, help="a finished sweep's folder, to be read in place of a new one")
    made.add_argument("--turns", type=int, help="turns for each setting, in place of the whole scenario")
    made.add_argument("--profile", default="cpu", help="the agent: a profile's name or a .yaml file")
    made.add_argument("--out", type=Path, default=Path("results"), help="where the new folder goes")
    return made


def measured(scenario: str, settings: Settings, given: argparse.Namespace, turns: int | None = None) -> list[Setting]:
    """The settings in their order, from `--sweep` or from a new sweep of them.

    Raises:
        SystemExit: it gave no result.
    """
    path = given.sweep or _sweep(scenario, settings, given, given.turns or turns)
    record = folder.updated_record(path, folder.read(path))
    found = dict(zip((point.name for point in record.points), record.points, strict=True))
    if missing := [name for name in settings if name not in found]:
        raise SystemExit(f"{path}: no run of the setting {missing[0]!r}")
    return [Setting(found[name], store.read(path / found[name].slug)) for name in settings]


def run(scenario: str, *, profile: str, sets: Sequence[str], out: Path) -> StoredRun:
    """One run of a scenario, with its report.

    Raises:
        SystemExit: it was interrupted.
        TurngapError: it gave no result.
    """
    agent = turngap.Agent.profile(profile, set=sets)
    done = turngap.run(scenario, agent=agent, out=out, progress=True)
    if done.interrupted:
        raise SystemExit(UNUSABLE)
    done.report()
    return store.read(done.path)


def sound(run: StoredRun) -> bool:
    """Whether its figures may be used at all."""
    return run.record.complete and run.record.verdict is not Verdict.INVALID


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool) -> None:
    """Print a table as `docs/latency.md` has it; on stderr where stdout is JSON's."""
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(stderr=as_json, width=None if sys.stdout.isatty() else 140).print(table, markup=False)


def number(value: float | None, unit: str = "ms", digits: int = 0) -> str:
    """A figure with its unit; – for none."""
    return "–" if value is None else f"{value:.{digits}f} {unit}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage; – for none."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _sweep(scenario: str, settings: Settings, given: argparse.Namespace, turns: int | None) -> Path:
    done = turngap.sweep(scenario, steps=settings, profile=given.profile, turns=turns, out=given.out, progress=True)
    done.report()
    if done.error is not None:
        raise done.error
    return done.path
