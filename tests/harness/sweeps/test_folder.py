"""A sweep's folder: figures are made anew from its runs, and what is foreign is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from turngap.sweeps import folder
from turngap_agent.errors import RunFolderError

from tests.harness.sweeps.builders import write_sweep


def test_figures_are_made_from_the_runs(tmp_path: Path) -> None:
    """A point for each run that is there; complete only when all are."""
    path = write_sweep(tmp_path / "sweep", settings=3, n=20)
    record = folder.updated_record(path, folder.read_sweep(path))
    assert record.complete
    assert [point.cut_off_rate.events for point in record.points] == [0, 1, 4]
    folder.write_sweep(path, record)
    assert folder.read_sweep(path) == record
    part = write_sweep(tmp_path / "part", settings=3, n=20, begun=2)
    record = folder.updated_record(part, folder.read_sweep(part))
    assert (record.complete, len(record.points)) == (False, 2)


def test_a_killed_run_has_the_figures_of_its_turns(tmp_path: Path) -> None:
    """Its `run.json` still says nothing of them."""
    path = write_sweep(tmp_path / "sweep", settings=1, n=20, complete=False)
    file = path / "min_silence_ms-300" / "run.json"
    data = json.loads(file.read_text())
    file.write_text(json.dumps(data | {"n_turns": 0, "outcomes": {}}))
    (point,) = folder.updated_record(path, folder.read_sweep(path)).points
    assert (point.n_turns, point.answered) == (20, 20)


def test_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    """Two sweeps of one second both have a folder, and nothing else is left beside them."""
    record = folder.read_sweep(write_sweep(tmp_path / "other", begun=0)).model_copy(update={"sweep_id": "one"})
    made = [folder.create_sweep(tmp_path / "out", record) for _ in range(2)]
    assert [path.name for path, _, _ in made] == ["one", "one-2"]
    assert [folder.read_sweep(path).sweep_id for path, _, _ in made] == ["one", "one-2"]
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "not a sweep folder"),
        ("{", "it is not JSON"),
        ("[]", "not a sweep of turngap"),
        ('{"schema_version": 99}', "newer than 1"),
        ('{"schema_version": 1}', "damaged: sweep_id"),
    ],
)
def test_what_is_no_sweep_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    """One line that says what is wrong with it."""
    if text is not None:
        (tmp_path / folder.SWEEP).write_text(text)
    with pytest.raises(RunFolderError, match=message):
        folder.read_sweep(tmp_path)
