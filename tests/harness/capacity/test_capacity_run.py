"""A whole capacity run against the scripted agent, as a user starts it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from turngap.capacity import folder
from turngap.capacity.call_log import read_calls
from turngap.model.turn import Outcome
from turngap.store import folder as store

from tests.harness.session.test_runner import PATIENCE_S, only_run, turngap
from tests.harness.tones import scenario_of_tones


def test_two_loads_leave_everything_a_report_needs(tmp_path: Path) -> None:
    """capacity.json on stdout alone, a run a point, calls placed as planned with bystanders around them, a report."""
    results = tmp_path / "results"
    scenario = scenario_of_tones(tmp_path, 3, probe="true")
    arguments = ("--profile", "scripted", "--calls", "1,3", "--turns", "6", "--go-on", "--out", str(results), "--json")
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
    assert record.complete
    assert [(point.calls, point.slug) for point in record.points] == [(1, "1-calls"), (3, "3-calls")]
    for point in record.points:
        run = store.read_run(path / point.slug)
        scored = [turn for turn in run.turns if turn.scored]
        assert len(scored) == point.n_turns == 6
        calls = read_calls(path / point.slug)
        assert [call.index for call in calls if not call.is_bystander] == sorted({turn.call for turn in scored})
        assert sum(call.is_bystander for call in calls) >= 2
        assert all(call.placed_ns >= call.planned_ns for call in calls)
        answered = [turn for turn in scored if turn.outcome is Outcome.ANSWERED]
        assert all(turn.start_delay_ms is not None for turn in scored)
        assert (point.gap_ms.p50 is None) or point.gap_ms.p50 > 300 or not answered
        assert point.under_way.mean > 0
        assert point.caller.busiest_core_share is not None
        assert point.caller.sentinel_answers >= 0
        assert point.first_turn_ms is not None
        assert point.energy_call_j is None or point.energy_call_j > 0
    assert record.points[1].under_way.mean > record.points[0].under_way.mean
    assert (tmp_path / "reports" / f"{path.name}.html").is_file()
    again = subprocess.run(turngap("report", str(path)), capture_output=True, text=True, check=False)
    assert again.returncode == 0
    # A point's own run can be rendered, and is not resumed: its calls would not be under its load.
    resumed = subprocess.run(
        turngap("run", "--resume", str(path / "1-calls")), capture_output=True, text=True, check=False
    )
    assert resumed.returncode == 3
    assert done.returncode in (0, 2)
