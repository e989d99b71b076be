"""Archives of a corpus, zip or tar, unpacked into the cache: only plain files, inside the folder, and never a bomb.

An archive is unpacked once; its folder is named by the archive's SHA-256, and is renamed into place when it is whole.
"""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import secrets
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from turngap_agent.errors import write_error

from turngap.corpora.table import corpus_error

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MOST_FILES = 200_000
MOST_BYTES = 64 * 2**30
MOST_TIMES = 100
"""Audio and tables shrink by far less; an archive that grows by more is a bomb. The first 64 MiB are free."""
FREE_BYTES = 64 * 2**20
_BLOCK = 1 << 20
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    # Of fields that make no sense: the libraries' own classes do not cover them.
    ValueError,
    LookupError,
    ArithmeticError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One plain file of an archive."""

    name: str
    stream: IO[bytes]


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, cache: Path) -> Path:
    """Return the folder below `cache` with the archive's files; unpack them unless they are there.

    An archive whose only entry is a folder gives that folder.

    Raises:
        UsageError: it cannot be read, is damaged, has an entry that is not a plain file inside it, or is a bomb
            (`corpus.archive`); nothing is left.
        HarnessError: the disk is full.
    """
    try:
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise corpus_error(f"{archive}: cannot be read ({error.strerror or error})", "archive") from None
    folder = cache / "archives" / digest[:32]
    if not folder.is_dir():
        draft = folder.with_name(f".{digest[:8]}-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            draft.mkdir(parents=True)
            _write_entries(archive, draft)
            _put_in_place(draft, folder)
        except OSError as error:
            raise write_error(f"{archive}: cannot be unpacked into {cache}", error) from None
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _put_in_place(draft: Path, folder: Path) -> None:
    """Rename the whole folder to its name; another process may have unpacked the same archive meanwhile."""
    try:
        draft.rename(folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


def _write_entries(archive: Path, folder: Path) -> None:
    allowance = min(MOST_BYTES, max(FREE_BYTES, archive.stat().st_size * MOST_TIMES))
    written = 0
    try:
        for count, entry in enumerate(_read_entries(archive), start=1):
            if count > MOST_FILES:
                raise corpus_error(f"{archive}: more than {MOST_FILES:,} files", "archive")
            target = folder / _check_name(entry.name, archive)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                raise corpus_error(f"{archive}: two entries have the name {entry.name!r}", "archive")
            with target.open("xb") as file:
                while block := entry.stream.read(_BLOCK):
                    written += len(block)
                    if written > allowance:
                        raise corpus_error(
                            f"{archive}: it unpacks to more than {allowance:,} bytes, {MOST_TIMES} times its size: "
                            "unpack it yourself if you trust it, and give the folder",
                            "archive",
                        )
                    file.write(block)
    except _DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise corpus_error(f"{archive}: cannot be unpacked ({reason})", "archive") from None
    except OSError as error:
        if error.errno is not None:  # the file system's; without a number it is gzip's or bzip2's, of damaged data
            raise
        raise corpus_error(f"{archive}: cannot be unpacked ({error})", "archive") from None
    if not written:
        raise corpus_error(f"{archive}: there are no files in it", "archive")


def _read_entries(archive: Path) -> Iterator[_Entry]:
    """Yield the plain files of an archive; folders are passed over, and anything else is refused."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                if info.is_dir():
                    continue
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG):
                    raise corpus_error(f"{archive}: {info.filename!r} is a link or device, not a plain file", "archive")
                with packed.open(info) as stream:
                    yield _Entry(info.filename, stream)
        return
    with tarfile.open(archive) as packed_tar:
        for member in packed_tar:
            if member.isdir():
                continue
            if not member.isreg():
                raise corpus_error(f"{archive}: {member.name!r} is a link or device, not a plain file", "archive")
            content = packed_tar.extractfile(member)
            assert content is not None, "a plain file has content"
            yield _Entry(member.name, content)
        _read_to_end(packed_tar, archive)


def _read_to_end(packed: tarfile.TarFile, archive: Path) -> None:
    """Read what follows the last entry: the checksum of a compressed archive stands there, and is checked then."""
    assert packed.fileobj is not None, "an archive that is read is open"
    beyond = 0
    while block := packed.fileobj.read(_BLOCK):
        beyond += len(block)
        if beyond > FREE_BYTES:
            raise corpus_error(f"{archive}: more than {FREE_BYTES:,} bytes follow its last entry", "archive")


def _check_name(name: str, archive: Path) -> PurePosixPath:
    """Return the entry's path below the folder; refuse one that would leave it."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0] or "\0" in name:
        raise corpus_error(f"{archive}: the entry {name!r} leads out of the archive's folder", "archive")
    return path
