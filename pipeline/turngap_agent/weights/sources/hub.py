"""Weights on the Hugging Face hub at one commit, over plain HTTPS; `HF_TOKEN` and `HF_ENDPOINT` count.

Where a pin has the commit alone, the hub is asked what its files are: their git object ids, and the sha256 of those in
Git LFS. A lock among the fetched files keeps the answer, so that they can be verified without a network ever after.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter

from turngap_agent.errors import WeightsError
from turngap_agent.weights.pins import File, HubSource, Pin
from turngap_agent.weights.sources import listing
from turngap_agent.weights.sources.download import RefusedError, Remote, download
from turngap_agent.weights.sources.progress import Progress

LOCK = ".turngap.lock.json"
"""Beside the files of an entry that is pinned by its revision alone: what the hub stated of each."""
_FILES = TypeAdapter(tuple[File, ...])


def fetch(pin: Pin, into: Path, partial: Path, progress: Progress) -> None:
    """Put the pinned files into the folder `into`.

    Raises:
        WeightsError: no network, no access to a gated repository, or the bytes are not the pinned ones.
        OSError: the file system refuses.
    """
    source = pin.source
    assert isinstance(source, HubSource)
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    token = _token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        files = pin.files or listing.stated(pin.name, source, endpoint, headers)
        parts = _downloaded(
            pin.name, files, f"{endpoint}/{source.repo}/resolve/{source.revision}", headers, partial, progress
        )
    except RefusedError as fault:
        raise _explain(fault, pin.name, source, bool(token)) from None
    placed: dict[Path, Path] = {}
    for part, path in parts:
        target = into / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if part in placed:  # two files with the same bytes are one download
            shutil.copyfile(placed[part], target)
        else:
            placed[part] = part.rename(target)
    if pin.by_revision:
        _lock(into, source, files)


def locked(folder: Path) -> tuple[File, ...]:
    """What the hub stated of the files in `folder`.

    Raises:
        WeightsError: the lock is missing or malformed.
    """
    try:
        return _FILES.validate_python(json.loads((folder / LOCK).read_text("utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):  # a ValidationError is a ValueError
        raise WeightsError(f"{folder / LOCK} is missing or damaged: delete {folder}, it is fetched again") from None


def _lock(folder: Path, source: HubSource, files: tuple[File, ...]) -> None:
    stated = [file.model_dump(by_alias=True, exclude_none=True) for file in files]
    lock = {"repo": source.repo, "revision": source.revision, "files": stated}
    (folder / LOCK).write_text(json.dumps(lock, indent=1), "utf-8")


def _downloaded(
    name: str, files: tuple[File, ...], base: str, headers: Mapping[str, str], partial: Path, progress: Progress
) -> list[tuple[Path, str]]:
    """All parts first: what is complete stays in `partial` if a later file fails, and is not fetched twice."""
    parts = []
    for file in files:
        remote = Remote(f"{base}/{file.source_path}", file.size, file.identity, f"{name} {file.path}", headers)
        parts.append((download(remote, partial, progress), file.path))
    return parts


def _token() -> str | None:
    """The user's token: `HF_TOKEN`, else what `hf auth login` stored."""
    if own := os.environ.get("HF_TOKEN", "").strip():
        return own
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    with suppress(OSError, UnicodeDecodeError):
        return Path(os.environ.get("HF_TOKEN_PATH", home / "token")).read_text("utf-8").strip() or None
    return None


def _explain(fault: RefusedError, name: str, source: HubSource, has_token: bool) -> WeightsError:
    page = f"https://huggingface.co/{source.repo}"
    if fault.status in (401, 403):
        if has_token:
            return WeightsError(
                f"{name}: the hub refuses this token (HTTP {fault.status}): accept the terms at {page} with its "
                "account, and let the token read gated repositories"
            )
        if not source.gated:
            return WeightsError(
                f"{name}: the hub wants a login for {source.repo} (HTTP {fault.status}): accept its terms at {page}, "
                "if it has any, then set HF_TOKEN"
            )
        return WeightsError(f"{name}: {source.repo} is gated: accept its terms at {page}, then set HF_TOKEN")
    if fault.status == 404:
        return WeightsError(f"{name}: {page} has no longer what is pinned ({source.revision[:12]}): update turngap")
    return fault
