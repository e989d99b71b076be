"""Files written whole or not at all, and the check before the work that one can be written."""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from turngap_agent.errors import UsageError


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends, whole; `path` is untouched if the block fails.

    With `sync` the disk has it then, even if the machine fails.

    Raises:
        OSError: it cannot be written; no draft is left behind.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")  # as `remove_drafts` finds it
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        draft.replace(path)
        if sync:
            sync_folder(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def check_writable(path: Path, name: str) -> None:
    """Check before the work that its result can be written to `path`; messages call the file `name`.

    Raises:
        UsageError: it is a folder, its folder does not exist, or writing is not permitted (`usage.output`).
    """
    if path.is_dir():
        raise UsageError(f"{name} {path}: that is a folder; give a file", code="usage.output")
    if not path.parent.is_dir():
        folder = shlex.quote(str(path.parent))
        raise UsageError(
            f"{name} {path}: there is no folder {path.parent}; create it: mkdir -p {folder}", code="usage.output"
        )
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{name} {path}: writing is not permitted; give another file", code="usage.output")


def replace_file(path: Path, content: str | bytes, *, sync: bool = True) -> None:
    """Write `content` (text as UTF-8) to `path`, whole or not at all.

    Raises:
        OSError: as `replacing`.
    """
    with replacing(path, sync=sync) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def remove_drafts(folder: Path, name: str | None = None) -> None:
    """Remove from `folder` the drafts of the file `name`, or of all files, that killed writers left.

    Nobody else may be writing these files.

    Raises:
        OSError: one cannot be removed.
    """
    for path in list(folder.iterdir()):
        draft = re.fullmatch(r"\.(.+)\.\d+-[0-9a-f]{8}", path.name)
        if draft is not None and name in (None, draft[1]):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable, as fsync does for a file's content.

    Raises:
        OSError: the disk failed.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
