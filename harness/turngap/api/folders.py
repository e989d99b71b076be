"""Where runs and sweeps lie, and their reports."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from turngap_agent.errors import RunFolderError

RESULTS = "results"
"""The folder of run folders, and where a run is looked up by its id."""


def find_run(run: Path | str, kind: Literal["run", "sweep", "capacity"] = "run") -> Path:
    """Return the folder of a run, a sweep or a capacity run, given as a path or as its id under `results/`.

    Raises:
        RunFolderError: there is neither.
    """
    path = Path(run)
    if path.is_file():
        hint = f"; give the folder {path.parent}" if path.name in ("run.json", "turns.jsonl") else f", no {kind} folder"
        raise RunFolderError(f"{run} is a file{hint}", code="run-folder.unknown")
    if path.exists():
        return path
    in_results = Path(RESULTS) / path
    if in_results.is_dir():
        return in_results
    raise RunFolderError(
        f"{run}: no {kind} folder: there is neither this path nor {in_results}; `turngap {kind}` prints it",
        code="run-folder.unknown",
    )


def find_report_path(folder: Path) -> Path:
    """Return where the report of a run or a sweep lies: results/ID has it in reports/ID.html beside `results`.

    A folder anywhere else has it inside, as report.html.
    """
    folder = folder.resolve()
    if folder.parent.name == RESULTS:
        return folder.parent.parent / "reports" / f"{folder.name}.html"
    return folder / "report.html"
