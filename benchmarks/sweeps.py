"""Sweeps of named settings, new or read from a folder, and runs of scenarios."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import turngap
from turngap.model.result import Verdict
from turngap.store import folder as store
from turngap.store.folder import StoredRun
from turngap.sweeps import folder
from turngap.sweeps.points import Point

from benchmarks.promises import UNUSABLE

SPECULATIVE = ("endpointing.policy=speculative", "endpointing.min_silence_ms=416")
"""Safe speculation: docs/endpointing.md explains 416 ms."""
Settings = Mapping[str, Sequence[str]]
"""The changes of the profile by the setting's name."""


@dataclass(frozen=True, slots=True)
class MeasuredSetting:
    """A setting with its run and its point in the sweep's result."""

    point: Point
    run: StoredRun


def add_sweep_options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the options of every benchmark with a sweep; return the parser."""
    parser.add_argument("--sweep", type=Path, help="read this finished sweep's folder instead of running a new sweep")
    parser.add_argument("--turns", type=int, help="turns per setting (default: the whole scenario)")
    parser.add_argument("--profile", default="cpu", help="the agent's profile: a name or a .yaml file")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for the new sweep")
    return parser


def measure_settings(
    scenario: str, settings: Settings, options: argparse.Namespace, turns: int | None = None
) -> list[MeasuredSetting]:
    """Return the settings in order, read from `--sweep` or from a new sweep.

    Raises:
        SystemExit: the sweep has no result, or lacks a setting.
    """
    path = options.sweep or _run_sweep(scenario, settings, options, options.turns or turns)
    record = folder.updated_record(path, folder.read_sweep(path))
    points = {point.name: point for point in record.points}
    if missing := [name for name in settings if name not in points]:
        raise SystemExit(f"{path}: the sweep has no setting {missing[0]!r}")
    return [MeasuredSetting(points[name], store.read_run(path / points[name].slug)) for name in settings]


def run_scenario(scenario: str, *, profile: str, sets: Sequence[str], out: Path, turns: int | None = None) -> StoredRun:
    """Run a scenario, with its report; `sets` changes the profile, `turns` replaces the scenario's number of turns.

    Raises:
        SystemExit: the run was interrupted.
        TurngapError: the run has no result.
    """
    agent = turngap.Agent.profile(profile, set=sets)
    run = turngap.run(scenario, agent=agent, turns=turns, out=out, progress=True)
    if run.interrupted:
        raise SystemExit(UNUSABLE)
    run.report()
    return store.read_run(run.path)


def is_valid(run: StoredRun) -> bool:
    """Return whether the run is complete and not INVALID."""
    return run.record.complete and run.record.verdict is not Verdict.INVALID


def _run_sweep(scenario: str, settings: Settings, options: argparse.Namespace, turns: int | None) -> Path:
    sweep = turngap.sweep(
        scenario, steps=settings, profile=options.profile, turns=turns, out=options.out, progress=True
    )
    sweep.report()
    if sweep.error is not None:
        raise sweep.error
    return sweep.path
