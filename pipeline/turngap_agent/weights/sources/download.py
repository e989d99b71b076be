"""Download one file over HTTP (or from a file: URL), resuming what broke off; only the pinned bytes are returned."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from turngap_agent.errors import WeightsError
from turngap_agent.weights.cache import has_identity
from turngap_agent.weights.sources.progress import Progress

ATTEMPTS = 4
TIMEOUT_S = 30
BLOCK_BYTES = 1 << 20


class RefusedError(WeightsError):
    """The server refused: trying again will not help."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, code="weights.refused")
        self.status = status


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on a server, and what it must be."""

    url: str
    size: int
    identity: str
    """A sha256 or git object id, as `cache.has_identity` takes it."""
    label: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent to this host only, never to one it redirects to."""


class _ConnectionLostError(Exception):
    """The connection failed or ended early; the bytes so far are kept."""


def download(remote: Remote, folder: Path, progress: Progress, sleep: Callable[[float], None] = time.sleep) -> Path:
    """Download `remote` into `folder`, resuming what an earlier run left there; the caller removes the file.

    Raises:
        RefusedError: the server refuses (status 4xx).
        WeightsError: no network (`weights.network`; the part is kept), or the bytes are not the pinned ones
            (`weights.mismatch`).
        OSError: the file system refuses.
    """
    part = folder / f"{remote.identity}.part"
    resumed = _size(part)
    if _size(part) < remote.size:
        progress.begin(remote.label, remote.size, resumed)
        try:
            _fill(part, remote, progress, sleep)
        finally:
            progress.end()
    if _is_whole(part, remote):
        return part
    part.unlink()
    if resumed:
        # The earlier part may be of another file, or damaged: once more, from the start.
        return download(remote, folder, progress, sleep)
    raise WeightsError(
        f"{remote.label}: what {_bare(remote.url)} sent is not the pinned file (another size or checksum): "
        "nothing was kept; try another mirror, or update turngap",
        code="weights.mismatch",
    )


def _fill(part: Path, remote: Remote, progress: Progress, sleep: Callable[[float], None]) -> None:
    for attempt in range(ATTEMPTS):
        before = _size(part)
        try:
            _stream(part, remote, progress)
        except _ConnectionLostError as error:
            if attempt == ATTEMPTS - 1:
                kept = f"; {_size(part)} of {remote.size} bytes are kept, run it again to resume" if _size(part) else ""
                raise WeightsError(
                    f"{remote.label}: no answer from {_bare(remote.url)} ({error}){kept}", code="weights.network"
                ) from None
            # Retry at once if bytes arrived, else after a while.
            sleep(0.0 if _size(part) > before else 2.0**attempt)
        else:
            return


def _stream(part: Path, remote: Remote, progress: Progress) -> None:
    have = _size(part)
    request = urllib.request.Request(remote.url, headers={"User-Agent": "turngap", "Accept-Encoding": "identity"})
    for name, value in remote.headers.items():
        request.add_unredirected_header(name, value)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            part.unlink(missing_ok=True)
            raise _ConnectionLostError("no such range") from None
        if error.code == 429 or error.code >= 500:
            raise _ConnectionLostError(f"HTTP {error.code}") from None
        raise RefusedError(f"{remote.label}: {_bare(remote.url)} answered HTTP {error.code}", error.code) from None
    except (OSError, http.client.HTTPException) as error:
        raise _ConnectionLostError(_reason(error)) from None
    with response, part.open("ab") as file:
        if have and response.status != 206:
            # The server ignores ranges: start over.
            file.truncate(0)
            progress.advance(-have)
        _copy(response, file, remote.size, progress)
    if _size(part) < remote.size:
        raise _ConnectionLostError("the connection ended early")


def _copy(response: BinaryIO, file: BinaryIO, limit: int, progress: Progress) -> None:
    while file.tell() <= limit:
        try:
            block = response.read(BLOCK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _ConnectionLostError(_reason(error)) from None
        if not block:
            return
        file.write(block)
        progress.advance(len(block))


def _is_whole(part: Path, remote: Remote) -> bool:
    return _size(part) == remote.size and has_identity(part, remote.identity)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _reason(error: Exception) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    text = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)
    return " ".join(text.split()) or type(inner).__name__


def _bare(url: str) -> str:
    """Return the URL without parts that may be secret: credentials and query."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
