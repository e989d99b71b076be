"""Reads a folder of runs into series: runs of one scenario, one agent and one network, in the order of time."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turngap_agent.errors import RunFolderError, TurngapError

from turngap.history.change_points import find_changes
from turngap.model.result import RunRecord, Verdict
from turngap.store import folder as store


@dataclass(frozen=True, slots=True)
class RunPoint:
    """One run in a series."""

    run_id: str
    folder: Path
    started: str
    """ISO 8601, UTC."""
    build: str
    """Identifies the build of the agent, by the ledger; "" for a run without a budget."""
    attempt: int
    """Its number among the attempts on that build; 0 for a run without a budget."""
    verdict: Verdict
    turns: int
    p50_ms: float | None
    """Of the turn gap; None where most turns were not answered."""
    p95_ms: float | None
    p95_upper_ms: float | None
    complete: bool

    @property
    def counts(self) -> bool:
        """Whether it takes part in the search for changes: its instrument was not disturbed."""
        return self.complete and self.verdict is not Verdict.INVALID and self.turns > 0


@dataclass(frozen=True, slots=True)
class Series:
    """Runs that may be compared: the same callers, the same agent's name, the same network."""

    scenario: str
    agent: str
    network: str
    """"" for none."""
    points: tuple[RunPoint, ...]
    """In the order of time."""
    changes: tuple[int, ...]
    """The places in `points` where a new level of the median begins."""

    @property
    def title(self) -> str:
        """What it is a series of."""
        return f"{self.scenario} on {self.agent}" + (f" under {self.network}" if self.network else "")

    def level(self, place: int) -> tuple[RunPoint, ...]:
        """Return the runs of the level that `places` belongs to."""
        start = max((change for change in self.changes if change <= place), default=0)
        end = min((change for change in self.changes if change > place), default=len(self.points))
        return self.points[start:end]


@dataclass(frozen=True, slots=True)
class History:
    """The series of a folder, the longest first, and what could not be read."""

    folder: Path
    series: tuple[Series, ...]
    skipped: tuple[str, ...] = ()
    """A line for each folder that is a run's and cannot be read."""

    @property
    def runs(self) -> int:
        """How many runs were read."""
        return sum(len(series.points) for series in self.series)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "folder": str(self.folder),
            "series": [
                {
                    "scenario": series.scenario,
                    "agent": series.agent,
                    "network": series.network or None,
                    "changes": [series.points[place].run_id for place in series.changes],
                    "runs": [
                        {
                            "run": point.run_id,
                            "started": point.started,
                            "build": point.build or None,
                            "attempt": point.attempt or None,
                            "verdict": str(point.verdict),
                            "turns": point.turns,
                            "p50_ms": point.p50_ms,
                            "p95_ms": point.p95_ms,
                            "p95_upper_ms": point.p95_upper_ms,
                            "complete": point.complete,
                        }
                        for point in series.points
                    ],
                }
                for series in self.series
            ],
            "skipped": list(self.skipped),
        }


def read_history(folder: Path) -> History:
    """Read every run folder in `folder`; a folder of a sweep has its runs inside, and they are read too.

    Raises:
        RunFolderError: there is no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise RunFolderError(f"{folder}: no such folder; give the folder of run folders, by default results/")
    points: dict[tuple[str, str, str], list[RunPoint]] = defaultdict(list)
    skipped = []
    for path in sorted({*folder.glob(f"*/{store.RUN}"), *folder.glob(f"*/*/{store.RUN}")}):
        try:
            record = store.read_run(path.parent).record
        except TurngapError as error:
            skipped.append(str(error))
            continue
        points[_group(record)].append(_make_point(path.parent, record))
    if not points:
        why = f" ({skipped[0]})" if skipped else ""
        raise RunFolderError(
            f"{folder}: there is no run in it{why}; give the folder of run folders, by default results/"
        )
    series = [make_series(group, members) for group, members in points.items()]
    return History(folder, tuple(sorted(series, key=lambda one: (-len(one.points), one.title))), tuple(skipped))


def make_series(group: tuple[str, str, str], points: list[RunPoint]) -> Series:
    """Return the series of one group, with its changes; runs whose instrument was disturbed are no evidence of one."""
    ordered = tuple(sorted(points, key=lambda point: point.started))
    places = [place for place, point in enumerate(ordered) if point.counts]
    medians = [math.inf if (median := ordered[place].p50_ms) is None else median for place in places]
    return Series(*group, ordered, tuple(places[change] for change in find_changes(medians)))


def _group(record: RunRecord) -> tuple[str, str, str]:
    agent = record.profile if record.profile != "url" else record.agent.url or "an agent at a URL"
    return record.scenario, agent, ", ".join(sorted(record.networks))


def _make_point(path: Path, record: RunRecord) -> RunPoint:
    ledger = record.ledger
    return RunPoint(
        run_id=record.run_id,
        folder=path,
        started=record.started,
        build=ledger.fingerprint if ledger is not None else "",
        attempt=ledger.number if ledger is not None else 0,
        verdict=record.verdict,
        turns=record.turn_gap_ms.n,
        p50_ms=record.turn_gap_ms.p50,
        p95_ms=record.turn_gap_ms.p95,
        p95_upper_ms=record.turn_gap_ms.p95_upper,
        complete=record.complete,
    )
