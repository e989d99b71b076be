"""The cache folder of weights: verified once, then trusted by size and time; entries are written whole or not at all.

<cache>/<name>/<fingerprint>/     one entry as it is used, with its manifest
<cache>/.partial/                 downloads that can be resumed
<cache>/.staging/<name>/          in preparation; renamed into place when complete and verified
<cache>/.locks/<name>             held by the process that fetches it
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from turngap_agent import files
from turngap_agent.errors import WeightsError
from turngap_agent.weights.pins import Pin
from turngap_agent.weights.sources.progress import Progress

MANIFEST = ".turngap.json"


def root() -> Path:
    """Return `$TURNGAP_CACHE`, else `turngap` in `$XDG_CACHE_HOME` or `~/.cache`."""
    if own := os.environ.get("TURNGAP_CACHE"):
        return Path(own).expanduser().absolute()
    # The XDG specification: a relative XDG_CACHE_HOME is to be ignored.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "turngap"


def place(pin: Pin) -> Path:
    """Return the folder of the entry, fetched or not."""
    return root() / pin.name / pin.fingerprint


def partial() -> Path:
    """Return the folder for downloads that can be resumed; it is created if missing."""
    folder = root() / ".partial"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def is_cached(pin: Pin) -> bool:
    """Whether the entry is there and looks untouched (sizes and times of its files: no byte is read).

    Raises:
        WeightsError: (`weights.damaged`) a file was damaged or removed.
    """
    folder = place(pin)
    manifest = _read_manifest(folder)
    if manifest is None:
        return False
    moved = False
    for path, expected in manifest.items():
        try:
            stat = (folder / path).stat()
        except OSError:
            raise WeightsError(f"{folder / path} is missing: {_remedy(pin)}", code="weights.damaged") from None
        if stat.st_size != expected["size"]:
            raise WeightsError(
                f"{folder / path} is damaged ({stat.st_size} bytes, not {expected['size']}): {_remedy(pin)}",
                code="weights.damaged",
            )
        moved = moved or stat.st_mtime_ns != expected["mtime_ns"]
    if moved:
        # Copied or restored: read the bytes once, then record the new times (not in a read-only cache).
        verify(pin)
        with suppress(OSError):
            _write_manifest(folder, {path: expected["sha256"] for path, expected in manifest.items()})
    return True


def verify(pin: Pin) -> None:
    """Read every byte of a cached entry and compare it with the manifest.

    Raises:
        WeightsError: (`weights.damaged`) a file differs from what was fetched, or is missing.
    """
    folder = place(pin)
    for path, expected in (_read_manifest(folder) or {}).items():
        try:
            digest = file_digest(folder / path)
        except OSError as error:
            raise WeightsError(
                f"{folder / path} cannot be read ({error.strerror}): {_remedy(pin)}", code="weights.damaged"
            ) from None
        if digest != expected["sha256"]:
            raise WeightsError(
                f"{folder / path} is damaged (its sha256 is {digest[:12]}…): {_remedy(pin)}", code="weights.damaged"
            )


@contextmanager
def staging(pin: Pin) -> Iterator[Path]:
    """Yield a fresh folder for the entry; on success it takes the entry's place in one step, else it is deleted."""
    folder = root() / ".staging" / pin.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
        _write_manifest(folder, {str(p.relative_to(folder)): file_digest(p) for p in files_below(folder)})
        target = place(pin)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def lock(pin: Pin, progress: Progress) -> Iterator[None]:
    """Keep other processes from fetching the same entry; wait for one that does. The kernel frees a dead one's lock."""
    path = root() / ".locks" / pin.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.note(f"{pin.name}: waiting for another process that fetches it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def writing(pin: Pin) -> Iterator[None]:
    """Turn an error of the file system into a `WeightsError` (`weights.storage`) that says what to do."""
    try:
        yield
    except OSError as error:
        where = root()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full (downloads so far are kept): make room, or set TURNGAP_CACHE to another disk"
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            reason = "it cannot be written to: set TURNGAP_CACHE to a folder that can, or fetch as its owner"
        else:
            reason = f"{error.strerror or error} ({error.filename}): set TURNGAP_CACHE to a folder that works"
        raise WeightsError(f"{pin.name} cannot be stored in {where}: {reason}", code="weights.storage") from None


def remove(pin: Pin) -> None:
    """Delete the entry, so that it is fetched again."""
    shutil.rmtree(place(pin), ignore_errors=True)


def files_below(folder: Path) -> list[Path]:
    """Return every file in `folder` except the manifest, sorted by its path as bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return sorted(files, key=lambda path: os.fsencode(path.relative_to(folder)))


def file_digest(path: Path) -> str:
    """Return the file's sha256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_identity(path: Path, identity: str) -> bool:
    """Whether the file has this sha256 (64 hex digits) or git object id (40).

    Git stores a large file as a Git LFS pointer, three lines with its sha256 and size; then that pointer's id counts.
    """
    digest = file_digest(path)
    if len(identity) == 64:
        return digest == identity
    size = path.stat().st_size
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n".encode()
    if _git_object(pointer) == identity:
        return True
    # Git itself stores small files only.
    return size < 100_000_000 and _git_object(path.read_bytes()) == identity


def tree_digest(folder: Path) -> str:
    """Return the sha256 of the listing that `sha256sum` prints for all files below `folder`, sorted by path."""
    lines = (f"{file_digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in files_below(folder))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _git_object(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _read_manifest(folder: Path) -> dict[str, dict[str, Any]] | None:
    try:
        files = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if isinstance(files, dict) else None


def _write_manifest(folder: Path, digests: dict[str, str]) -> None:
    entries = {}
    for path, digest in digests.items():
        stat = (folder / path).stat()
        entries[path] = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": digest}
    files.replace_file(folder / MANIFEST, json.dumps({"files": entries}, indent=1), sync=False)


def _remedy(pin: Pin) -> str:
    return f"run `python -m turngap_agent weights pull {pin.name}` to fetch it again"
