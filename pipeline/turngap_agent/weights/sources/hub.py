"""Weights on the Hugging Face hub at one commit; `HF_TOKEN`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` are honoured.

`huggingface_hub` provides addresses, token and listings. The bytes come through `download`: the library no longer
resumes, in a later run, a download that broke off (huggingface_hub#4228), and these files are gigabytes.

If a pin has the commit alone, the hub states what its files are: their git object ids, and the sha256 of those in Git
LFS. A lock among the fetched files keeps the answer, so that they can be verified without a network from then on.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from turngap_agent.errors import WeightsError
from turngap_agent.weights.pins import File, HubSource, Pin
from turngap_agent.weights.sources.download import RefusedError, Remote, download
from turngap_agent.weights.sources.progress import Progress

LOCK = ".turngap.lock.json"
"""Beside the files of an entry that is pinned by its commit alone: what the hub stated of each."""
_FILES = TypeAdapter(tuple[File, ...])


def fetch(pin: Pin, into: Path, partial: Path, progress: Progress) -> None:
    """Put the pinned files into the folder `into`.

    Raises:
        WeightsError: no network, no access to a gated repository, or the bytes are not the pinned ones.
        ModuleNotFoundError: huggingface_hub is not installed.
        OSError: the file system refuses.
    """
    from huggingface_hub import constants, get_token, hf_hub_url

    source = pin.source
    assert isinstance(source, HubSource)
    if constants.HF_HUB_OFFLINE:
        raise WeightsError(
            f"{pin.name}: it is not cached, and HF_HUB_OFFLINE is set: unset it, or copy the cache (docs/weights.md)",
            code="weights.offline",
        )
    endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")
    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        files = pin.files or list_files(pin.name, source, endpoint, token)
        urls = {
            file: hf_hub_url(source.repo, file.source_path, revision=source.revision, endpoint=endpoint)
            for file in files
        }
        parts = _download_all(pin.name, urls, headers, partial, progress)
    except RefusedError as error:
        raise _explain(error, pin.name, source, has_token=bool(token)) from None
    placed: dict[Path, Path] = {}
    for file, part in parts.items():
        target = into / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if part in placed:  # two files with the same bytes are one download
            shutil.copyfile(placed[part], target)
        else:
            placed[part] = part.rename(target)
    if pin.by_revision:
        _write_lock(into, source, files)


def list_files(name: str, source: HubSource, endpoint: str, token: str | None) -> tuple[File, ...]:
    """Return the files that `source.take` names, by path, as the hub lists them at the pinned commit.

    A file in Git LFS is known by its sha256, any other by its git object id.

    Raises:
        RefusedError: the hub refuses.
        WeightsError: no network, an answer that is no listing, or a file that `take` names is not there.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, token=token, library_name="turngap")
    patterns = source.take or ()
    try:
        rows = list(api.list_repo_tree(source.repo, recursive=True, revision=source.revision))
        # Folders of a repository have no `blob_id`.
        files = [_file(row) for row in rows if hasattr(row, "blob_id") and _matches(row.path, patterns)]
    except (KeyError, TypeError, AttributeError, ValueError):  # a ValidationError and JSON's are ValueErrors
        raise WeightsError(
            f"{name}: {endpoint} does not list files as the hub does: check HF_ENDPOINT", code="weights.listing"
        ) from None
    except Exception as error:  # noqa: BLE001  # its HTTP client, and so its errors, differ between versions
        raise _listing_error(name, f"{endpoint}/api/models/{source.repo}", error) from None
    missing = [one for one in patterns if not any(fnmatchcase(file.path, one) for file in files) and "*" not in one]
    if missing or not files:
        raise WeightsError(
            f"{name}: {source.repo} has no {', '.join(missing or patterns)} at {source.revision[:12]}: update turngap",
            code="weights.listing",
        )
    return tuple(sorted({file.path: file for file in files}.values(), key=lambda file: file.path))


def read_lock(folder: Path) -> tuple[File, ...]:
    """Return what the hub stated of the files in `folder`.

    Raises:
        WeightsError: the lock is missing or malformed.
    """
    try:
        return _FILES.validate_python(json.loads((folder / LOCK).read_text("utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):  # a ValidationError is a ValueError
        raise WeightsError(
            f"{folder / LOCK} is missing or damaged: delete {folder}, it is fetched again", code="weights.damaged"
        ) from None


def _write_lock(folder: Path, source: HubSource, files: tuple[File, ...]) -> None:
    rows = [file.model_dump(by_alias=True, exclude_none=True) for file in files]
    lock = {"repo": source.repo, "revision": source.revision, "files": rows}
    (folder / LOCK).write_text(json.dumps(lock, indent=1), "utf-8")


def _file(row: Any) -> File:
    """Return a row of the hub's listing (a `RepoFile`) as a pinned file."""
    if row.lfs:
        sha256 = row.lfs.sha256.removeprefix("sha256:")
        return File(source_path=row.path, path=row.path, size=row.lfs.size, sha256=sha256)
    return File(source_path=row.path, path=row.path, size=row.size, git=row.blob_id)


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, one) for one in patterns)


def _download_all(
    name: str, urls: Mapping[File, str], headers: Mapping[str, str], partial: Path, progress: Progress
) -> dict[File, Path]:
    """Download all parts before any is placed: complete ones stay in `partial` if a later file fails."""
    return {
        file: download(Remote(url, file.size, file.identity, f"{name} {file.path}", headers), partial, progress)
        for file, url in urls.items()
    }


def _listing_error(name: str, place: str, error: Exception) -> WeightsError:
    response = getattr(error, "response", None)
    if response is None:
        reason = " ".join(str(error).split()) or type(error).__name__
        return WeightsError(f"{name}: no answer from {place} ({reason}): run it again", code="weights.network")
    status = int(response.status_code)
    if status == 429 or status >= 500:
        return WeightsError(f"{name}: {place} answered HTTP {status}: try again later", code="weights.network")
    return RefusedError(f"{name}: {place} answered HTTP {status}", status)


def _explain(error: RefusedError, name: str, source: HubSource, *, has_token: bool) -> WeightsError:
    page = f"https://huggingface.co/{source.repo}"
    if error.status in (401, 403):
        if has_token:
            text = (
                f"the hub refuses this token (HTTP {error.status}): accept the terms at {page} with its account, and "
                "let the token read gated repositories"
            )
        elif source.gated:
            text = f"{source.repo} is gated: accept its terms at {page}, then set HF_TOKEN"
        else:
            text = (
                f"the hub requires a login for {source.repo} (HTTP {error.status}): accept its terms at {page}, if it "
                "has any, then set HF_TOKEN"
            )
        return WeightsError(f"{name}: {text}", code="weights.access")
    if error.status == 404:
        text = f"{page} no longer has the pinned commit ({source.revision[:12]}): update turngap"
        return WeightsError(f"{name}: {text}", code="weights.gone")
    return error
