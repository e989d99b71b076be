"""A run beside others: which ones are shown, with which intervals, and which other differences are listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from turngap import report
from turngap.cli import app
from turngap.model.result import Verdict
from turngap.report import other_runs
from turngap.store import folder as store
from turngap.store.folder import RunFolder

from tests.harness import report_builders as make


def run(out: Path, name: str, day: int, *, scale: float = 1.0, n: int = 20, **changes: Any) -> Path:
    turns = make.turns(n, scale=scale)
    given = {"environment": {"cpu": "a", "gpu": None}, "started": f"2026-07-{day:02d}T10:15:00+00:00"}
    folder = RunFolder.create(out, name, make.run_record(turns, **(given | changes)))
    folder.append(turns)
    return folder.path


def past(path: Path) -> tuple[other_runs.EarlierRun, ...]:
    read = store.read_run(path)
    return other_runs.earlier_runs(path, read.record, read.turns)


def test_earlier_runs_of_the_same_kind_are_shown_oldest_first(tmp_path: Path) -> None:
    """This run is the last; other scenarios and profiles and later runs are no past of it. Nothing that went wrong is
    left out: invalid and unfinished runs are in it, and marked.
    """
    run(tmp_path, "second", 2, scale=1.2)
    run(tmp_path, "first", 1, environment={"cpu": "b", "gpu": None})
    this = run(tmp_path, "this", 5)
    run(tmp_path, "later", 6)
    run(tmp_path, "other", 3, scenario="other")
    run(tmp_path, "foreign", 3, profile="foreign")
    run(tmp_path, "invalid", 3, verdict=Verdict.INVALID)
    run(tmp_path, "unfinished", 4, complete=False)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text("{")
    others = past(this)
    assert [one.run_id for one in others] == ["first", "second", "invalid", "unfinished", "this"]
    assert [one.differences for one in others] == [("cpu differs: b, against a",), (), (), (), ()]
    assert [one.status for one in others] == ["", "", "INVALID", "aborted", ""]


def test_many_runs_leave_the_oldest_out(tmp_path: Path) -> None:
    """The chart stays small."""
    for day in range(1, 13):
        path = run(tmp_path, f"r{day}", day)
    others = past(path)
    assert len(others) == other_runs.MOST_RUNS
    assert others[0].run_id == "r5"


def test_a_run_alone_has_no_past(tmp_path: Path) -> None:
    """Nor has a sweep's setting: the runs beside it are other settings, which its sweep's report compares."""
    assert past(run(tmp_path, "alone", 1)) == ()
    sweep = tmp_path / "sweep"
    run(sweep, "one", 1)
    (sweep / "sweep.json").touch()
    assert past(run(sweep, "two", 2)) == ()


def test_intervals_are_those_that_so_few_turns_carry(tmp_path: Path) -> None:
    """Of 20 turns the median has both sides, and p95 no upper one."""
    run(tmp_path, "first", 1)
    one = past(run(tmp_path, "this", 2))[-1]
    assert one.p50_ms is not None
    low, high = one.p50_between_ms
    assert low is not None
    assert high is not None
    assert low <= one.p50_ms <= high
    assert one.p95_between_ms[1] is None


def test_the_report_shows_both(tmp_path: Path) -> None:
    """Past and baseline, with what differs; without either there is no such section."""
    base = run(tmp_path / "results", "base", 1, scale=1.5, environment={"cpu": "b", "gpu": None})
    head = run(tmp_path / "results", "head", 2)
    report.render_report(base, tmp_path / "base.html")
    assert "Compared with other runs" not in (tmp_path / "base.html").read_text()
    report.render_report(head, tmp_path / "head.html", base)
    page = (tmp_path / "head.html").read_text()
    assert "Compared with other runs" in page
    assert "Compared with base" in page
    assert "cpu differs: a, against b" in page
    assert "faster" in page[page.index("Compared with base") :]


def test_a_baseline_is_named_by_folder_or_id(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for `turngap compare`; one that is none is one line."""
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "results", "base", 1)
    head = run(tmp_path / "results", "head", 2)
    assert app.execute(["report", str(head), "--baseline", "base"]) == 0
    assert "Compared with base" in Path(capfd.readouterr().out.strip()).read_text()
    assert app.execute(["report", str(head), "--baseline", "nope"]) == 3
    assert "no run folder" in capfd.readouterr().err
