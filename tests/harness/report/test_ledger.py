"""The runs on one build in the report: all of them, from the ledger, with what distinguishes them."""

from __future__ import annotations

from pathlib import Path

from turngap.model.result import LedgerSummary
from turngap.report import data, page
from turngap.report import ledger as shown
from turngap.store import ledger
from turngap.store.folder import RunFolder

from tests.harness import report_builders as make
from tests.harness.store.test_ledger import end, start


def run_with_ledger(out: Path) -> Path:
    """A run that is the third on its build, with a ledger in which others are."""
    for line in (
        start("killed", time="2026-07-01T08:00:00+00:00"),
        start("failed", time="2026-07-01T09:00:00+00:00", subset="u2"),
        end("failed", "FAIL"),
        start("this", time="2026-07-01T10:00:00+00:00"),
        end("this"),
        start("other", fingerprint="f2"),
        start("budget", time="2026-07-01T11:00:00+00:00", budget="edge500", budget_sha256="b2"),
        end("budget", "INVALID"),
    ):
        ledger.enter(out, line)
    counts = {"PASS": 1, "FAIL": 1, "aborted": 1}
    summary = LedgerSummary(entry="this", fingerprint="f1", number=3, counts=counts, pass_probability=0.11)
    turns = make.turns(20)
    folder = RunFolder.create(out, "run-this", make.run_record(turns, ledger=summary))
    folder.append(turns)
    return folder.path


def test_every_run_on_the_build_is_listed(tmp_path: Path) -> None:
    """The killed one, the one with other utterances, and the one by another budget; not those on another build."""
    path = run_with_ledger(tmp_path)
    rows = shown.list_entries(path, data.read_report_data(path).record)
    assert [(row.run, row.status, row.turns) for row in rows] == [
        ("run-killed", "aborted", None),
        ("run-failed", "FAIL", 190),
        ("run-this", "PASS", 190),
        ("run-budget", "INVALID", 190),
    ]
    assert [row.differences for row in rows] == [(), ("another corpus",), (), ("budget edge500",)]
    assert [row.is_this for row in rows] == [False, False, True, False]


def test_the_page_has_them_and_the_arithmetic(tmp_path: Path) -> None:
    """Which attempt it is, how the others ended, and the probability."""
    text = " ".join(page.render_run_page(data.read_report_data(run_with_ledger(tmp_path))).split())
    assert "Attempts on this build" in text
    assert "3rd attempt on this build (1 PASS, 1 FAIL, 1 aborted)" in text
    assert "passes 1 of 3 attempts with probability 11 %" in text
    assert "run-killed" in text


def test_a_run_without_ledger_has_no_list(tmp_path: Path) -> None:
    """A folder that was sent to somebody renders without its neighbours."""
    path = run_with_ledger(tmp_path)
    record = data.read_report_data(path).record
    (tmp_path / ledger.LEDGER).unlink()
    assert shown.list_entries(path, record) == ()
    assert shown.list_entries(path, record.model_copy(update={"ledger": None})) == ()
