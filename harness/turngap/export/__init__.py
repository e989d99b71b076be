"""Export of runs to the formats of other tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from turngap_agent import documents
from turngap_agent.errors import UsageError

from turngap.export import junit, markdown, parquet, perfetto, table
from turngap.store import folder as store
from turngap.store.folder import StoredRun

FORMATS: dict[str, Callable[[StoredRun], str | bytes]] = {
    "csv": table.render_csv,
    "parquet": parquet.render_parquet,
    "perfetto": perfetto.render_trace,
    "junit": junit.render_junit,
    "markdown": markdown.render_markdown,
}


def export_run(folder: Path, name: str) -> str:
    """Return the run in `folder` in a format of text: csv, perfetto (Chrome trace JSON), junit or markdown.

    Raises:
        UsageError: there is no such format, or it is binary (`export_bytes`).
        RunFolderError: the folder contains no run, or a damaged one.
    """
    content = _export(folder, name)
    if isinstance(content, bytes):
        raise UsageError(f"--format {name}: it is no text; write it to a file")
    return content


def export_bytes(folder: Path, name: str) -> bytes:
    """Return the run in `folder` in any format as a file's content; text as UTF-8.

    Raises:
        UsageError: there is no such format.
        RunFolderError: the folder contains no run, or a damaged one.
    """
    content = _export(folder, name)
    return content if isinstance(content, bytes) else content.encode()


def _export(folder: Path, name: str) -> str | bytes:
    if name not in FORMATS:
        raise UsageError(f"--format: no format {name!r}{documents.list_choices(name, FORMATS)}")
    return FORMATS[name](store.read_run(folder))
