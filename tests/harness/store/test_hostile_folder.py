"""A run folder of somebody else: read or refused in one line, at once; a resumed run writes nothing outside of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from turngap.report import data
from turngap.store import disk, ledger
from turngap.store import folder as store
from turngap.store.folder import RunFolder
from turngap_agent.errors import RunFolderError

from tests.harness import report_builders as builders

NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e30", "9223372036854775808", "1" + "0" * 400, "-1e18"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return builders.write_run(tmp_path / "results" / "run", builders.turns(3))


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("name", [store.RUN, store.TURNS])
def test_numbers_that_nothing_is_measured_with_are_refused(run: Path, name: str, number: str) -> None:
    """Not finite, or so large that arithmetic overflows: by the file's name, and no report tries to draw them."""
    text = (run / name).read_text("utf-8")
    key = '"duration_s":' if name == store.RUN else '"turn_gap_ms":'
    before, _, after = text.partition(key)
    rest = after[min(after.index(","), after.index("\n")) :]
    (run / name).write_text(f"{before}{key}{number}{rest}", "utf-8")
    with pytest.raises(RunFolderError, match=f"{name}.*: damaged: ") as caught:
        store.read_run(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["0.12345678901234567", "1e-300", "1.5E+02", "123456789012345678"])
def test_unusual_numbers_of_measurements_are_read(number: str) -> None:
    """Many digits, tiny ones, an exponent, a time of some years in ns."""
    text = builders.run_record([]).model_dump_json().replace('"seed":1', '"seed":1', 1)
    text = text.replace(text[text.index('"duration_s":') : text.index(',"complete"')], f'"duration_s":{number}')
    assert disk.validate_json(type(builders.run_record([])), text, "run.json").duration_s == float(number)


@pytest.mark.parametrize("name", [store.RUN, store.TURNS])
def test_a_pipe_is_not_waited_for(run: Path, name: str) -> None:
    """Nobody writes into it: to open it would never return."""
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises(RunFolderError, match="not a plain file"):
        store.read_run(run)


@pytest.mark.parametrize(("name", "most"), [(store.RUN, disk.LARGEST_RECORD), (store.TURNS, disk.LARGEST_LINES)])
def test_a_giant_file_is_not_read(run: Path, name: str, most: int) -> None:
    """Its size is asked for first; the hole in the file takes no room on the disk."""
    os.truncate(run / name, most + 1)
    with pytest.raises(RunFolderError, match=f"{name}: over {most >> 20} MiB"):
        store.read_run(run)


def test_json_without_bottom_is_refused(run: Path) -> None:
    """Lists so deep that a parser gives up."""
    (run / store.RUN).write_text("[" * 100_000, "utf-8")
    with pytest.raises(RunFolderError, match="not JSON"):
        store.read_run(run)


@pytest.mark.parametrize("name", [store.TURNS, store.SPANS, store.AGENT_LOG, store.PROFILE, store.CALLS, ".lock"])
def test_a_run_with_links_is_not_resumed(run: Path, tmp_path: Path, name: str) -> None:
    """A torn last line is cut off where a run is resumed: of a file of that folder only."""
    victim = tmp_path / "victim"
    victim.write_text("no end of line", "utf-8")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(victim)
    with pytest.raises(RunFolderError, match=f"{name}: a link"):
        RunFolder(run).repair()
    assert victim.read_text("utf-8") == "no end of line"


@pytest.mark.parametrize("name", ["../outside", "/outside", "..", "a/../../outside", "x\0y"])
def test_the_ledger_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    """The run folder that an entry names is one beside the ledger: of no other is it asked who writes it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    lock = disk.FolderLock(outside)
    start = {
        "event": "start",
        "entry": "e",
        "time": "t",
        "run": name.replace("/outside", str(outside)) if name[0] == "/" else name,
        "agent": "a",
        "fingerprint": "f",
        "scenario": "s",
        "scenario_sha256": "0",
        "budget": "b",
        "budget_sha256": "0",
        "planned": 1,
        "subset": "0",
    }
    results = tmp_path / "results"
    results.mkdir()
    (results / ledger.LEDGER).write_text(json.dumps(start) + "\n", "utf-8")
    (entry,), _ = ledger.read_entries(results)
    assert entry.status == ledger.ABORTED
    lock.release()


def test_samples_that_cannot_be_drawn_are_left_out(run: Path) -> None:
    """What is no number, not finite or beyond all measure; a giant file is left out with a note."""
    rows = ["at_s,cpu_percent,rss_mib", "1,2,3", "nan,2,3", "2,inf,3", "3,1e300,3", "4,x,3", "5,6,7"]
    (run / store.PROCESS).write_text("\n".join(rows) + "\n", "utf-8")
    read = data.read_report_data(run)
    assert read.process is not None
    assert read.process["at_s"].tolist() == [1.0, 5.0]
    os.truncate(run / store.PROCESS, data.LARGEST_SAMPLES + 1)
    read = data.read_report_data(run)
    assert read.process is None
    assert any("process.csv is over" in note for note in read.notes)
