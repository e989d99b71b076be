"""Progress of downloads: a bar on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TransferSpeedColumn
from rich.progress import Progress as RichProgress


class Progress(Protocol):
    """Takes the progress of a source, one download at a time."""

    def begin(self, what: str, total_bytes: int, done_bytes: int = 0) -> None:
        """Start `what`, or resume it after `done_bytes` of an earlier run."""
        ...

    def advance(self, n_bytes: int) -> None:
        """Add `n_bytes`."""
        ...

    def end(self) -> None:
        """End the download, complete or not."""
        ...

    def note(self, line: str) -> None:
        """Show one line."""
        ...


class Silent:
    """Shows nothing."""

    def begin(self, what: str, total_bytes: int, done_bytes: int = 0) -> None:
        """Nothing."""

    def advance(self, n_bytes: int) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""

    def note(self, line: str) -> None:
        """Nothing."""


class Lines:
    """One plain line a download, for logs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def begin(self, what: str, total_bytes: int, done_bytes: int = 0) -> None:
        """Print what is fetched and its size."""
        resumed = f", resumed after {megabytes(done_bytes)}" if done_bytes else ""
        self.note(f"fetching {what} ({megabytes(total_bytes)}{resumed})")

    def advance(self, n_bytes: int) -> None:
        """Nothing: a log has no bar."""

    def end(self) -> None:
        """Nothing: the next line says whether it worked."""

    def note(self, line: str) -> None:
        """Print the line."""
        print(f"turngap: {line}", file=self._out, flush=True)


class Bar:
    """A bar with bytes and speed that disappears at the end of the download."""

    def __init__(self, out: TextIO) -> None:
        self._console = Console(file=out)
        self._bar: RichProgress | None = None
        self._task = TaskID(0)

    def begin(self, what: str, total_bytes: int, done_bytes: int = 0) -> None:
        """Open the bar."""
        self.end()
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bar = RichProgress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task(what, total=total_bytes, completed=done_bytes)
        self._bar.start()

    def advance(self, n_bytes: int) -> None:
        """Move the bar."""
        if self._bar:
            self._bar.advance(self._task, n_bytes)

    def end(self) -> None:
        """Close the bar."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def note(self, line: str) -> None:
        """Print the line above the bar."""
        self._console.print(f"turngap: {line}", markup=False, highlight=False)


def for_stderr() -> Progress:
    """Return a bar if stderr is a terminal, else plain lines."""
    return Bar(sys.stderr) if sys.stderr.isatty() else Lines(sys.stderr)


def megabytes(n_bytes: int) -> str:
    """Format a size in powers of ten, as registries do."""
    if n_bytes < 1e6:
        return f"{n_bytes / 1e3:.1f} kB"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.2f} GB"
