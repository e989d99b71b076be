"""The HTML report: one self-contained file, rendered from a run folder alone."""

from __future__ import annotations

from pathlib import Path

__all__ = ["render_report"]


def render_report(folder: Path, out: Path, baseline: Path | None = None) -> None:
    """Render the run in `folder` as one HTML file at `out`, written whole or not at all; `baseline` is another's.

    Raises:
        RunFolderError: a folder holds no run that this version reads.
        UsageError: `out` cannot be written.
        HarnessError: the disk is full.
    """
    # Drawing needs matplotlib, which takes half a second to import: only those who render pay for it.
    from turngap.report import page

    page.write_run_page(folder, out, baseline)
