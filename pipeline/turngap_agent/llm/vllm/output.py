"""The whole output of a server, written to a file as it comes: its last lines alone rarely contain why it died.

The instrument names the run's folder (`tracing.OUTPUT_FOLDER`); an agent that is started by hand has a temporary file.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from turngap_agent.tracing import OUTPUT_FOLDER

NAME = "vllm.log"


class OutputFile:
    """One server's file; all its starts are appended. A disk that is full loses output, never the server."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Take the folder from the environment; the file is created when the server prints something."""
        folder = environment.get(OUTPUT_FOLDER)
        self._temporary = folder is None
        self.path = Path(folder) / NAME if folder is not None else None
        self._file = -1

    def write(self, data: bytes) -> None:
        """Append `data`."""
        with contextlib.suppress(OSError):
            if self._file < 0:
                self._open()
            os.write(self._file, data)

    def _open(self) -> None:
        if self._temporary:
            self._file, name = tempfile.mkstemp(prefix="turngap-vllm-", suffix=".log")
            self.path = Path(name)
        elif self.path is not None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def describe(self) -> str:
        """Return "; its whole output: FILE", for the line on a death; "" without a file."""
        return f"; its whole output: {self.path}" if self._file >= 0 else ""

    def close(self, *, keep: bool) -> None:
        """Close the file; a temporary one is removed unless `keep`, which a death deserves."""
        if self._file < 0:
            return
        os.close(self._file)
        self._file = -1
        if self._temporary and not keep and self.path is not None:
            self.path.unlink(missing_ok=True)
