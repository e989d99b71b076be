"""Export of runs to the formats of other tools."""

from __future__ import annotations

from pathlib import Path

from turngap_agent.errors import UsageError

from turngap.export import perfetto, table
from turngap.store import folder as store

FORMATS = {"csv": table.render_csv, "perfetto": perfetto.render_trace}


def export_run(folder: Path, name: str) -> str:
    """Return the run in `folder` in the format `name`: csv (a row per turn) or perfetto (Chrome trace JSON).

    Raises:
        UsageError: there is no such format.
        RunFolderError: the folder contains no run, or a damaged one.
    """
    if name not in FORMATS:
        raise UsageError(f"--format {name!r}: there are {', '.join(FORMATS)}")
    return FORMATS[name](store.read_run(folder))
