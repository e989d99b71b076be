"""Files and folders of results: created and replaced atomically, with one writer, and read by schema version."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import re
import stat
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from turngap_agent import files
from turngap_agent.errors import HarnessError, RunFolderError, write_error

LOCK = ".lock"
LARGEST_RECORD = 64 << 20
"""Bytes of a `run.json`."""
LARGEST_LINES = 1 << 30
"""Bytes of a file with a line for each turn: 100,000 turns and more."""
LARGEST_NUMBER = 2**59
"""Nanoseconds of 18 years without a restart. A sum over all outcomes of less than this still fits 64 bits."""
_UNUSUAL = re.compile(r"NaN|Infinity|\d{16}|[eE]\+?\d\d")
"""Every text of a number that is not finite or not less than 10^16 has this, and few others have."""
Json = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)


class FolderLock:
    """The exclusive right to write a run's folder, held as long as this object or its process lives."""

    def __init__(self, path: Path) -> None:
        """Acquire the lock.

        Raises:
            RunFolderError: another process has it.
        """
        self._file: int | None = None
        try:
            self._file = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise RunFolderError(f"{path}: a run is writing this folder right now; wait until it has ended") from None
        except OSError:
            pass  # a file system without locks, or an error that the first write raises again

    def release(self) -> None:
        """Release it now: a stored exception could keep this object alive."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        self.release()


def is_locked(path: Path) -> bool:
    """Return whether a process writes the run's folder at this moment; False where there is no such folder."""
    try:
        file = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # a file system without locks
    finally:
        os.close(file)
    return False


def new_folder(out: Path, name: str, kind: str, fill: Callable[[Path, str], None]) -> tuple[Path, FolderLock]:
    """Make the folder `name` under `out`; an existing name gets a number. Messages call it a `kind` folder.

    `fill(path, name)` writes what must be in it from the first moment. The folder gets its name afterwards; `fill` is
    called again for each name that exists already.

    Raises:
        UsageError: no folder can be made there.
        HarnessError: the disk is full.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        fresh = out / f".{name}.{os.getpid()}"
        fresh.mkdir()
        lock = FolderLock(fresh)
        for number in range(1, 1000):
            numbered = name if number == 1 else f"{name}-{number}"
            fill(fresh, numbered)
            with contextlib.suppress(OSError):  # it exists and is not empty
                fresh.rename(out / numbered)
                files.sync_folder(out)
                return out / numbered, lock
    except OSError as error:
        raise write_error(f"{out}: no {kind} folder can be made there", error) from None
    raise HarnessError(f"{out}: no free name for {name}")


def replace_file(target: Path, text: str) -> None:
    """Replace a file atomically, and wait until the disk has it.

    Raises:
        HarnessError: it can't be written.
    """
    try:
        files.replace_file(target, text)
    except OSError as error:
        raise HarnessError(f"{target}: cannot be written ({error.strerror or error})") from None


def append_bytes(file: FileIO, data: bytes) -> None:
    """Append `data` and sync; a part that the disk took is removed again: a torn line would damage the next."""
    size = os.fstat(file.fileno()).st_size
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(size)
        raise


def read_file(file: Path, most_bytes: int) -> bytes:
    """Return the content of a file.

    Raises:
        RunFolderError: it is no plain file (a pipe would be waited for), or larger than that.
        OSError: it is missing, or cannot be read.
    """
    found = file.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise RunFolderError(f"{file}: not a plain file; copy the folder again")
    if found.st_size > most_bytes:
        raise RunFolderError(f"{file}: over {most_bytes >> 20} MiB: that is no file of a run")
    return file.read_bytes()


def load_json(file: Path, kind: str, newest: int) -> tuple[int, Json]:
    """Return the schema version and the JSON object in the file of a `kind`, "run" or "sweep".

    Raises:
        RunFolderError: the file is missing, damaged, not of that kind, or of a version newer than `newest`.
    """
    try:
        data = json.loads(read_file(file, LARGEST_RECORD).decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunFolderError(
            f"{file.parent}: not a {kind} folder (it has no {file.name}); give the folder of a `turngap {kind}`"
        ) from None
    except OSError as error:
        raise RunFolderError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise RunFolderError(f"{file}: damaged: it is not JSON; the {kind} can't be read") from None
    if not isinstance(data, dict):
        raise RunFolderError(f"{file}: not a {kind} of turngap (it is not a JSON object)")
    version = data.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RunFolderError(f"{file}: not a {kind} of turngap (it has no `schema_version`)")
    if version > newest:
        raise RunFolderError(
            f"{file}: schema version {str(version)[:20]} is newer than {newest}, the newest that this turngap can "
            "read; update turngap",
            code="run-folder.version",
        )
    return version, data


def validate_json(model: type[Model], text: str, where: str) -> Model:
    """Return JSON text as a model.

    Raises:
        RunFolderError: it is not valid, or has a number that nothing was measured with: not finite, or too large; the
            message names `where` and the field.
    """
    if _UNUSUAL.search(text):
        _check_numbers(text, where)
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"])
        raise RunFolderError(f"{where}: damaged: {at + ': ' if at else ''}{first['msg']}") from None


def _check_numbers(text: str, where: str) -> None:
    """Refuse numbers with which a report could not be drawn."""

    def refuse(number: str) -> NoReturn:
        raise RunFolderError(f"{where}: damaged: the number {number[:40]} is not one of a measurement")

    def read_float(number: str) -> float:
        return value if math.isfinite(value := float(number)) and abs(value) < LARGEST_NUMBER else refuse(number)

    def read_int(number: str) -> int:
        return value if len(number) < 25 and abs(value := int(number)) < LARGEST_NUMBER else refuse(number)

    with contextlib.suppress(ValueError, RecursionError):  # no JSON: the model says where
        json.loads(text, parse_float=read_float, parse_int=read_int, parse_constant=refuse)
