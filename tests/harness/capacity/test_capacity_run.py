"""A whole capacity run against the scripted agent, as a user starts it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from turngap.capacity import folder
from turngap.capacity.call_log import read_calls
from turngap.cli import app
from turngap.store import folder as store

from tests.harness.session.test_runner import PATIENCE_S, only_run, turngap
from tests.harness.tones import scenario_of_tones


def test_a_load_leaves_everything_a_report_needs(tmp_path: Path) -> None:
    """capacity.json on stdout alone, a run, calls placed as planned with bystanders around them, a report."""
    results = tmp_path / "results"
    scenario = scenario_of_tones(tmp_path, 2, probe="true")
    arguments = ("--profile", "scripted", "--calls", "2", "--turns", "4", "--out", str(results), "--json")
    done = subprocess.run(
        turngap("capacity", str(scenario), *arguments),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )
    path = only_run(results)
    record = folder.read_capacity(path)
    assert json.loads(done.stdout) == json.loads((path / folder.CAPACITY).read_text())
    assert done.returncode in (0, 2)  # 2: on a busy machine the caller is late, and the load INVALID
    assert record.complete
    (point,) = record.points
    assert (point.calls, point.slug) == (2, "2-calls")
    run = store.read_run(path / point.slug)
    scored = [turn for turn in run.turns if turn.scored]
    assert len(scored) == point.n_turns == 4
    assert all(turn.start_delay_ms is not None for turn in scored)
    calls = read_calls(path / point.slug)
    assert [call.index for call in calls if not call.is_bystander] == sorted({turn.call for turn in scored})
    assert sum(call.is_bystander for call in calls) >= 3
    assert all(call.placed_ns >= call.planned_ns for call in calls)
    assert 0 < point.under_way.mean <= point.under_way.peak
    assert point.caller.busiest_core_share is not None
    assert point.first_turn_ms is not None
    assert (tmp_path / "reports" / f"{path.name}.html").is_file()
    # A point's run is not resumed: its calls would not be under its load.
    assert app.execute(["run", "--resume", str(path / "2-calls")]) == 3
