"""Runs in the forms other tools read."""

from __future__ import annotations

from pathlib import Path

from turngap_agent.errors import UsageError

from turngap.export import perfetto, table
from turngap.store import folder as store

FORMATS = {"csv": table.render_csv, "perfetto": perfetto.render_trace}


def export_run(folder: Path, name: str) -> str:
    """The run in `folder` in the form `name`: csv (a row a turn) or perfetto (Chrome trace JSON).

    Raises:
        UsageError: there is no such form.
        RunFolderError: it is no run folder, or damaged.
    """
    if name not in FORMATS:
        raise UsageError(f"--format {name!r}: there are {', '.join(FORMATS)}")
    return FORMATS[name](store.read(folder))
