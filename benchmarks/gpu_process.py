"""Runs one step of a GPU's measurement as a process, with a time limit; standard library only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from benchmarks.gpu_machine import ROOT, source_environment

GRACE_S = 30.0
"""How long an interrupted step may take to write what it has."""
READ_S = 5.0
"""How long to wait for the end of its output: a process that it left behind may keep the pipe open."""


@dataclass(frozen=True, slots=True)
class EndedStep:
    """A step's process after its end."""

    exit_code: int | None
    """None: it was ended at its time limit."""
    stdout: str
    last_line: str
    """The last line on stderr that is not empty: programs print their error there."""


def run_step(command: list[str], most_s: float, log: Path) -> EndedStep:
    """Run a command for at most `most_s` seconds, with its output in `log` too."""
    out: list[str] = []
    last: deque[str] = deque(maxlen=1)
    piped = subprocess.Popen(
        command,
        cwd=ROOT,
        env=source_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    with log.open("w", encoding="utf-8") as file, piped as process:
        readers = [
            threading.Thread(target=_read, args=(process.stdout, out.append, file), daemon=True),
            threading.Thread(target=_read, args=(process.stderr, lambda line: _show(line, last), file)),
        ]
        for reader in readers:
            reader.start()
        late = False
        try:
            process.wait(most_s)
        except subprocess.TimeoutExpired:
            late = True
            _end(process)
        except KeyboardInterrupt:
            _end(process)
            raise
        finally:
            for reader in readers:
                reader.join(READ_S)
    return EndedStep(None if late else process.returncode, "".join(out), last[-1] if last else "no output on stderr")


def _read(stream: IO[str], take: Any, file: IO[str]) -> None:
    for line in stream:
        take(line)
        file.write(line)


def _show(line: str, last: deque[str]) -> None:
    sys.stderr.write(line)
    if line.strip():
        last.append(line.strip())


def _end(process: subprocess.Popen[str]) -> None:
    """End a process as Ctrl-C would, so that a run keeps its finished turns; then kill it with all that it started."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
