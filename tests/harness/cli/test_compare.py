"""`turngap compare`: a table or JSON of two runs, with what differs beside the turns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from turngap.cli import app
from turngap.store.folder import RunFolder

from tests.harness import report_builders as make


def run(out: Path, name: str, scale: float, cpu: str, **changes: object) -> RunFolder:
    turns = make.turns(20, scale=scale)
    folder = RunFolder.create(out, name, make.run_record(turns, environment={"cpu": cpu, "gpu": None}, **changes))
    folder.append(turns)
    return folder


def test_two_runs_are_compared(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By folder or by id; exit code 0; another CPU is noted."""
    monkeypatch.chdir(tmp_path)
    base = run(tmp_path / "results", "base", 1.0, "a")
    run(tmp_path / "results", "head", 1.5, "b")
    assert app.execute(["compare", "head", str(base.path)]) == 0
    out = capfd.readouterr().out
    assert "slower" in next(line for line in out.splitlines() if line.startswith("turn gap"))
    assert "note: cpu differs: b, against a" in out
    assert app.execute(["compare", "head", "base", "--json"]) == 0
    data = json.loads(capfd.readouterr().out)
    assert (data["head"], data["base"]) == ("head", "base")
    assert data["rows"][0]["found"]["change"] == "slower"
    assert len(data["rows"]) > 5


def test_a_missing_machine_fact_is_shown_as_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No value of the program's own is in a note."""
    monkeypatch.chdir(tmp_path)
    turns = make.turns(20)
    for name, gpu in (("head", None), ("base", "a GPU")):
        RunFolder.create(
            tmp_path / "results", name, make.run_record(turns, environment={"cpu": "a", "gpu": gpu})
        ).append(turns)
    assert app.execute(["compare", "head", "base"]) == 0
    out = capfd.readouterr().out
    assert "note: gpu differs: none, against a GPU" in out
    assert "None" not in out


def test_random_weights_are_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Which of the two has them, and what that means for the comparison."""
    random = {"profile": "weightless-hf", "profile_data": {"name": "weightless-hf", "weightless": True}}
    head, base = run(tmp_path, "head", 1.0, "a", **random), run(tmp_path, "base", 1.0, "a")
    assert app.execute(["compare", str(head.path), str(base.path)]) == 0
    out = capfd.readouterr().out
    assert "note: profile weightless-hf, weightless: timing and memory only" in out
    assert out.count("timing and memory only") == 1


def test_no_run_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong id ends with an error, not with a table."""
    assert app.execute(["compare", "nope", "nope"]) != 0
    assert "no run folder" in capfd.readouterr().err
