"""One file over HTTP (or from a file: URL): resumed where it broke off, handed over only when it is the pinned one."""

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
    """The server answered, and the answer is no: asking again will not help."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Remote:
    """A file elsewhere, and what it must be."""

    url: str
    size: int
    identity: str
    """As `cache.has_identity` takes it."""
    label: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent to this host alone, never to one it redirects to."""


class _BrokenOffError(Exception):
    """The connection failed or ended early; what came is kept."""


def download(remote: Remote, folder: Path, progress: Progress, sleep: Callable[[float], None] = time.sleep) -> Path:
    """Fetch `remote` into `folder`, going on with what an earlier run left there; the caller removes the file.

    Raises:
        RefusedError: the server says no (status 4xx).
        WeightsError: no network, or the bytes are not the pinned ones. Of a broken download the part is kept.
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
        # The earlier part may have been of another file, or damaged: once more, from nothing.
        return download(remote, folder, progress, sleep)
    raise WeightsError(
        f"{remote.label}: what {_bare(remote.url)} sent is not the pinned file (another size or checksum): "
        "nothing was kept; try another mirror, or update turngap"
    )


def _fill(part: Path, remote: Remote, progress: Progress, sleep: Callable[[float], None]) -> None:
    for attempt in range(ATTEMPTS):
        before = _size(part)
        try:
            _stream(part, remote, progress)
        except _BrokenOffError as fault:
            if attempt == ATTEMPTS - 1:
                kept = f"; {_size(part)} of {remote.size} bytes are kept, run it again to go on" if _size(part) else ""
                raise WeightsError(f"{remote.label}: no answer from {_bare(remote.url)} ({fault}){kept}") from None
            # A server that got on deserves an immediate next try; one that did not, some time.
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
    except urllib.error.HTTPError as fault:
        fault.close()
        if fault.code == 416:
            part.unlink(missing_ok=True)
            raise _BrokenOffError("it has no such range") from None
        if fault.code == 429 or fault.code >= 500:
            raise _BrokenOffError(f"HTTP {fault.code}") from None
        raise RefusedError(f"{remote.label}: {_bare(remote.url)} answered HTTP {fault.code}", fault.code) from None
    except (OSError, http.client.HTTPException) as fault:
        raise _BrokenOffError(_reason(fault)) from None
    with response, part.open("ab") as file:
        if have and response.status != 206:
            # Ranges are not served here: begin anew.
            file.truncate(0)
            progress.advance(-have)
        _copy(response, file, remote.size, progress)
    if _size(part) < remote.size:
        raise _BrokenOffError("the connection ended early")


def _copy(response: BinaryIO, file: BinaryIO, limit: int, progress: Progress) -> None:
    while file.tell() <= limit:
        try:
            block = response.read(BLOCK_BYTES)
        except (OSError, http.client.HTTPException) as fault:
            raise _BrokenOffError(_reason(fault)) from None
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


def _reason(fault: Exception) -> str:
    inner = fault.reason if isinstance(fault, urllib.error.URLError) else fault
    text = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)
    return " ".join(text.split()) or type(inner).__name__


def _bare(url: str) -> str:
    """The URL without what may be secret: credentials and query."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
