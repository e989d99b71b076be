"""A target of fuzzing: a reader, inputs that it takes, and the check of one example."""

from __future__ import annotations

import contextlib
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from turngap_agent.errors import TurngapError

LONGEST_LINE = 1200
"""An error's line must not pour a whole file over the terminal."""
SECONDS = 60.0
"""An example that takes longer hangs."""
Form = Literal["bytes", "json", "jsonl", "yaml"]


@dataclass(frozen=True)
class Target:
    """A reader of what others wrote."""

    name: str
    about: str
    read: Callable[[bytes, Path], object]
    """Reads an example; the folder is empty, and its own."""
    seeds: Callable[[], Sequence[bytes]]
    """Valid inputs."""
    form: Form = "bytes"
    place: str = ""
    """What every line of an error has to contain, such as the file's name."""


def find_fault(target: Target, data: bytes, folder: Path) -> tuple[str, bool]:
    """Return what is wrong with how the target takes `data`, "" if nothing is, and whether it was refused."""
    try:
        with time_limit(SECONDS):
            target.read(data, folder)
    except TurngapError as error:
        lines = str(error).split("\n")
        if not all(line.strip() for line in lines):
            return f"an empty line in the error {error!r}", True
        if len(longest := max(lines, key=len)) > LONGEST_LINE:
            return f"{len(longest)} characters in a line of {type(error).__name__}: {longest[:200]!r}", True
        if target.place and not all(target.place in line for line in lines):
            return f"no place ({target.place!r}) in a line of {str(error)[:300]!r}", True
        return "", True
    except Exception as error:  # noqa: BLE001  # that is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-3:]
        at = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(last))
        return f"{type(error).__name__}: {str(error)[:200]} ({at})", False
    return "", False


class _HangError(BaseException):
    """No `Exception`: what is fuzzed must not be able to catch it."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise a TimeoutError in the body after that time."""

    def interrupt(*_: object) -> None:
        raise _HangError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _HangError:
        raise TimeoutError(f"it took more than {seconds:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
