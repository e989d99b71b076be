"""Fetches one file over HTTP, resuming what broke off, and verifies it; the hub's token goes to the hub alone."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from turngap_agent import files
from turngap_agent.errors import WeightsError

from turngap.corpora.pins import HubFile, RemoteFile

OnProgress = Callable[[str], None]
HUB = "https://huggingface.co"
ATTEMPTS = 4
TIMEOUT_S = 30
LARGEST_BYTES = 16 * 2**30
"""Of a file whose size is not pinned: no corpus of turns is larger, and a server may never stop sending."""
_BLOCK = 1 << 20
_COMMIT = re.compile(r"/[0-9a-f]{40}/")


def fetch_file(file: RemoteFile | HubFile, folder: Path, hashes: Path, on_progress: OnProgress) -> Path:
    """Return the verified file in `folder`; fetch it unless it is there.

    A file whose SHA-256 is not pinned has that of its first fetch, which the JSON file `hashes` keeps.

    Raises:
        WeightsError: no network (what has arrived is kept), no access, or not the pinned bytes.
        OSError: the file system refuses.
    """
    target = folder / Path(file.path).name
    url, headers = locate(file)
    known = file.sha256 or _read_hashes(hashes).get(identify(file))
    if target.is_file() and known is not None and hash_file(target) == known:
        return target
    part = target.with_name(f"{target.name}.part")
    size = f" ({file.size / 1e6:,.0f} MB)" if file.size is not None else ""
    on_progress(f"fetching {target.name}{size}")
    for attempt in range(ATTEMPTS):
        try:
            _stream(url, headers, part, file)
            break
        except (ConnectionError, TimeoutError, http.client.HTTPException, urllib.error.URLError) as error:
            if isinstance(error, urllib.error.HTTPError) or attempt == ATTEMPTS - 1:
                raise WeightsError(
                    f"{target.name}: no answer from {url} ({_reason(error)}); what has arrived is kept, run it again",
                    code="weights.network",
                ) from None
    digest = hash_file(part)
    if (file.size is not None and part.stat().st_size != file.size) or (known is not None and digest != known):
        part.unlink()
        what = "the pinned file" if file.sha256 is not None else "the file of the first fetch"
        raise WeightsError(
            f"{target.name}: what {url} sent is not {what} (another size or checksum): nothing was kept; "
            "update turngap",
            code="weights.mismatch",
        )
    if file.sha256 is None:
        _write_hash(hashes, identify(file), digest)
        if not _COMMIT.search(url):  # a commit in the address says what it answers
            on_progress(
                f"{target.name}: its SHA-256 is not pinned; {digest} is recorded, and later fetches must have it"
            )
    part.replace(target)
    return target


def identify(file: RemoteFile | HubFile) -> str:
    """Return what a recorded hash is kept under."""
    return file.url if isinstance(file, RemoteFile) else f"{file.repo}@{file.revision}/{file.path}"


def locate(file: RemoteFile | HubFile) -> tuple[str, dict[str, str]]:
    """Return the address of a file, and the headers that only its own host gets."""
    if isinstance(file, RemoteFile):
        return file.url, {}
    endpoint = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    token = _read_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return f"{endpoint}/datasets/{file.repo}/resolve/{file.revision}/{file.path}", headers


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stream(url: str, headers: Mapping[str, str], part: Path, file: RemoteFile | HubFile) -> None:
    have = part.stat().st_size if part.is_file() else 0
    if file.size is not None and have >= file.size:
        return
    request = urllib.request.Request(url, headers={"User-Agent": "turngap", "Accept-Encoding": "identity"})
    for name, value in headers.items():
        request.add_unredirected_header(name, value)  # the hub redirects to hosts of others
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # there is no more of it, or the part is of another file
            if file.size is None:
                return
            part.unlink()
            raise ConnectionError("no such range") from None
        if error.code == 429 or error.code >= 500:
            raise ConnectionError(f"HTTP {error.code}") from None
        raise WeightsError(_explain(error.code, url, file, has_token=bool(headers)), code="weights.refused") from None
    with response, part.open("ab") as target:
        if have and response.status != 206:
            target.truncate(0)
        expected = int(response.headers.get("Content-Length") or -1)
        if file.size is None and target.tell() + expected > LARGEST_BYTES:
            raise _size_error(url)
        received = 0
        while block := response.read(_BLOCK):
            target.write(block)
            received += len(block)
            if file.size is not None and target.tell() > file.size:
                return  # the caller says that it is another file
            if target.tell() > LARGEST_BYTES:
                target.truncate(0)
                raise _size_error(url)
    if 0 <= received < expected:
        raise ConnectionError("the connection ended early")


def _size_error(url: str) -> WeightsError:
    return WeightsError(
        f"{url}: larger than {LARGEST_BYTES / 1e9:.0f} GB, the most that is fetched; nothing was kept",
        code="weights.size",
    )


def _explain(status: int, url: str, file: RemoteFile | HubFile, *, has_token: bool) -> str:
    if isinstance(file, RemoteFile):
        return f"{url} answered HTTP {status}"
    page = f"{HUB}/datasets/{file.repo}"
    if status in (401, 403):
        if has_token:
            return f"the hub refuses this token (HTTP {status}): accept the terms at {page} with its account"
        return f"{file.repo} needs a login: accept its terms at {page}, then set HF_TOKEN"
    return f"{page} answered HTTP {status} for {file.path} at {file.revision[:12]}: update turngap"


def _read_token() -> str:
    """Return the hub's token, from HF_TOKEN or where `hf auth login` keeps it; "" if there is none."""
    if token := os.environ.get("HF_TOKEN", "").strip():
        return token
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    path = Path(os.environ.get("HF_TOKEN_PATH") or home / "token")
    return path.read_text("utf-8").strip() if path.is_file() else ""


def _read_hashes(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        return {str(key): str(value) for key, value in json.loads(path.read_text("utf-8")).items()}
    except (ValueError, AttributeError):
        raise WeightsError(f"{path} is damaged: delete it, and the hashes are recorded again") from None


def _write_hash(path: Path, name: str, digest: str) -> None:
    """Record a hash beside those of other corpora, which another process may be recording at the same moment."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _add_hash(path, name, digest)


def _add_hash(path: Path, name: str, digest: str) -> None:
    files.replace_file(path, json.dumps({**_read_hashes(path), name: digest}, indent=1))


def _reason(error: Exception) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    return " ".join(str(inner).split()) or type(inner).__name__
