"""Targets in the folders of runs: the record, turns, samples and the ledger, and all that renders them."""

from __future__ import annotations

import functools
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

from turngap import report
from turngap.cli import compare
from turngap.export import junit, markdown
from turngap.progress import PipeConsole
from turngap.report import terminal
from turngap.store import folder as store
from turngap.store import ledger

from tests.fuzz.target import Target
from tests.harness import report_builders as builders

_FILES = ("run.json", "turns.jsonl", "gpu.csv", "process.csv", "ledger.jsonl")


@functools.cache
def _good() -> dict[str, bytes]:
    """Return the files of a good run, by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = builders.write_run(Path(folder) / "run", builders.conversation_turns(6), gpu=True)
        files = {name: (path / name).read_bytes() for name in _FILES[:4]}
    entry = ledger.EntryStart(
        entry="e1",
        time="2026-01-01T00:00:00Z",
        run="run",
        agent="cpu",
        fingerprint="f",
        scenario="s",
        scenario_sha256="0",
        budget="b",
        budget_sha256="0",
        planned=6,
        subset="0",
    )
    end = ledger.EntryEnd(entry="e1", time="2026-01-01T00:01:00Z", verdict="PASS", turns=6, complete=True, ended="done")
    return files | {"ledger.jsonl": (entry.model_dump_json() + "\n" + end.model_dump_json() + "\n").encode()}


def _write(folder: Path, name: str, data: bytes) -> Path:
    """Write a run whose file `name` has that content."""
    run = folder / "results" / "run"
    run.mkdir(parents=True)
    for file, content in (_good() | {name: data}).items():
        (run.parent if file == "ledger.jsonl" else run).joinpath(file).write_bytes(content)
    return run


def _read(name: str, data: bytes, folder: Path) -> None:
    run = _write(folder, name, data)
    if name == "ledger.jsonl":
        entries, _notes = ledger.read_entries(run.parent)
        ledger.count_statuses(entries)
        return
    if name in ("run.json", "turns.jsonl"):
        stored = store.read_run(run)
        markdown.render_markdown(stored)
        junit.render_junit(stored)
        terminal.print_summary(stored.record, PipeConsole(file=io.StringIO()), stored.turns)
        return
    report.render_report(run, folder / "report.html")


def _render(name: str, data: bytes, folder: Path) -> None:
    """Write the page, with everything on it, and compare the run with a good one."""
    run = _write(folder, name, data)
    report.render_report(run, folder / "report.html")
    other = _write(folder / "other", "run.json", _good()["run.json"])
    for head, base in ((run, other), (other, run)):
        compare.run(str(head), str(base), as_json=False, console=PipeConsole(file=io.StringIO()))


def _seeds(name: str) -> Sequence[bytes]:
    return [_good()[name]]


def _form(name: str) -> str:
    return {"run.json": "json", "gpu.csv": "bytes", "process.csv": "bytes"}.get(name, "jsonl")


FOLDER_TARGETS = (
    *(
        Target(
            f"folder-{name}",
            f"{name} of a run",
            functools.partial(_read, name),
            functools.partial(_seeds, name),
            _form(name),
            name if name.startswith(("run", "turns")) else "",
        )  # type: ignore[arg-type]
        for name in _FILES
    ),
    *(
        Target(
            f"report-{name}",
            f"the report of a run with that {name}, and its comparison",
            functools.partial(_render, name),
            functools.partial(_seeds, name),
            _form(name),
        )  # type: ignore[arg-type]
        for name in _FILES[:2]
    ),
)
