"""Reading a folder of runs: groups, order, what counts, what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.history.series import read_history
from turngap_agent.errors import RunFolderError

from tests.harness.history.builders import invalidate, write_runs

STEP = [450, 452, 449, 451, 450, 448, 453, 530, 529, 531, 530, 532, 528, 531]


def test_runs_of_one_scenario_and_agent_are_a_series(tmp_path: Path) -> None:
    """In the order of time, with the change; another scenario is another series, and the longer one comes first."""
    write_runs(tmp_path, STEP)
    write_runs(tmp_path / "sweep", [400, 401], scenario="gate")
    history = read_history(tmp_path)
    assert [(series.title, len(series.points), series.changes) for series in history.series] == [
        ("default on cpu", 14, (7,)),
        ("gate on cpu", 2, ()),
    ]
    started = [point.started for point in history.series[0].points]
    assert started == sorted(started)
    assert [point.p50_ms for point in history.series[0].level(9)] == STEP[7:]
    assert (history.runs, history.skipped) == (16, ())


def test_a_disturbed_run_is_no_evidence(tmp_path: Path) -> None:
    """INVALID runs are shown and take no part in the search; places still count all runs."""
    paths = write_runs(tmp_path, [900, *STEP])
    invalidate(paths[0])
    (series,) = read_history(tmp_path).series
    assert [point.counts for point in series.points] == [False, *[True] * 14]
    assert series.changes == (8,)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A damaged run is a line; the others are read."""
    paths = write_runs(tmp_path, STEP)
    (paths[0] / "run.json").write_text("{")
    history = read_history(tmp_path)
    assert history.runs == 13
    assert len(history.skipped) == 1
    assert str(paths[0]) in history.skipped[0]


def test_a_folder_without_runs(tmp_path: Path) -> None:
    """One line: what is wrong and which folder is meant."""
    with pytest.raises(RunFolderError, match="there is no run in it"):
        read_history(tmp_path)
    with pytest.raises(RunFolderError, match="no such folder"):
        read_history(tmp_path / "nowhere")


def test_as_data(tmp_path: Path) -> None:
    """Every run with its figures, and the changes by the run that begins the new level."""
    write_runs(tmp_path, STEP)
    (series,) = read_history(tmp_path).to_json()["series"]
    assert series["changes"] == ["2026-08-08-cpu-default"]
    assert series["runs"][0] | {"build": ""} == {
        "run": "2026-08-01-cpu-default",
        "started": "2026-08-01T10:15:00Z",
        "build": "",
        "attempt": 1,
        "verdict": "MEASURED",
        "turns": 60,
        "p50_ms": 450,
        "p95_ms": 550,
        "p95_upper_ms": 600,
        "complete": True,
    }
