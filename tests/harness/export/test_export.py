"""Runs as CSV and as a Perfetto trace: every turn, nothing invented, and tracks that import."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import pytest
from turngap import export
from turngap.model.landing import Landing
from turngap.model.turn import Outcome
from turngap.store.folder import RunFolder
from turngap_agent.tracing import Stage

from tests.harness import report_builders as builders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of three turns: one answered, one without spans, one missed."""
    turns = [builders.turn(0), builders.turn(1, spans=False), builders.turn(2, outcome=Outcome.MISSED)]
    made = RunFolder.create(tmp_path, "run", builders.run_record(turns))
    made.append(turns)
    return made.path


def test_csv_has_a_row_a_turn_and_empty_cells_for_the_unknown(folder: Path) -> None:
    """Stages have their own columns; a turn without spans leaves them empty, as a missed one its gap."""
    rows = list(csv.DictReader(io.StringIO(export.export_run(folder, "csv"))))
    assert [row["outcome"] for row in rows] == ["answered", "answered", "missed"]
    assert float(rows[0]["transcription_exposed_ms"]) > 0
    assert rows[1]["transcription_ms"] == ""
    assert rows[2]["turn_gap_ms"] == ""
    assert all(f"{stage}_exposed_ms" in rows[0] for stage in Stage)


def test_a_trace_pairs_every_begin_with_its_end(folder: Path) -> None:
    """Async pairs with ids of their own: overlapping stages would not import as nested slices."""
    events = json.loads(export.export_run(folder, "perfetto"))["traceEvents"]
    ends = Counter((event["pid"], event["id2"]["local"], event["name"]) for event in events if event["ph"] == "e")
    begins = {
        (event["pid"], event["id2"]["local"], event["name"]): event["ts"] for event in events if event["ph"] == "b"
    }
    assert set(ends) == set(begins)
    assert set(ends.values()) == {1}
    for event in events:
        if event["ph"] == "e":
            assert event["ts"] >= begins[event["pid"], event["id2"]["local"], event["name"]]
    names = {event["name"] for event in events if event["ph"] == "b"}
    assert {"turn gap", "transcription", "first_token"} <= names


def test_a_trace_keeps_the_turn_gap(folder: Path) -> None:
    """The slice of the gap is as long as the turn's gap, in µs."""
    events = json.loads(export.export_run(folder, "perfetto"))["traceEvents"]
    begin, end = (
        next(event["ts"] for event in events if event["ph"] == kind and event["name"] == "turn gap") for kind in "be"
    )
    expected = builders.turn(0).turn_gap_ms
    assert expected is not None
    assert end - begin == pytest.approx(expected * 1000, abs=0.01)


def test_csv_has_a_landing_in_columns_of_its_own(tmp_path: Path) -> None:
    """Only a cut-off has one; what is not known of it is empty."""
    found = Landing(starts=1, heard_ms=312, gave_way_ms=64, gap_ms=455)
    turns = [builders.turn(0), builders.turn(1, outcome=Outcome.CUT_OFF).model_copy(update={"landing": found})]
    made = RunFolder.create(tmp_path, "run", builders.run_record(turns))
    made.append(turns)
    first, second = csv.DictReader(io.StringIO(export.export_run(made.path, "csv")))
    assert {value for name, value in first.items() if name.startswith("landing_")} == {""}
    assert (second["landing_heard_ms"], second["landing_gap_ms"], second["landing_soft"]) == ("312.0", "455.0", "")
