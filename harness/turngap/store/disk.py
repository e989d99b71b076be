"""Files and folders of results: created and replaced atomically, with one writer, and read by schema version."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from turngap_agent import files
from turngap_agent.errors import HarnessError, RunFolderError, write_error

LOCK = ".lock"
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


def load_json(file: Path, kind: str, newest: int) -> tuple[int, Json]:
    """Return the schema version and the JSON object in the file of a `kind`, "run" or "sweep".

    Raises:
        RunFolderError: the file is missing, damaged, not of that kind, or of a version newer than `newest`.
    """
    try:
        data = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunFolderError(
            f"{file.parent}: not a {kind} folder (it has no {file.name}); give the folder of a `turngap {kind}`"
        ) from None
    except OSError as error:
        raise RunFolderError(f"{file}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise RunFolderError(f"{file}: damaged: it is not JSON; the {kind} can't be read") from None
    if not isinstance(data, dict):
        raise RunFolderError(f"{file}: not a {kind} of turngap (it is not a JSON object)")
    version = data.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RunFolderError(f"{file}: not a {kind} of turngap (it has no `schema_version`)")
    if version > newest:
        raise RunFolderError(
            f"{file}: schema version {version} is newer than {newest}, the newest that this turngap can read; "
            "update turngap",
            code="run-folder.version",
        )
    return version, data


def validate_json(model: type[Model], text: str, where: str) -> Model:
    """Return JSON text as a model.

    Raises:
        RunFolderError: it is not valid; the message names `where` and the field.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"])
        raise RunFolderError(f"{where}: damaged: {at + ': ' if at else ''}{first['msg']}") from None
