"""Weights on the Hugging Face hub at one commit, over plain HTTPS; `HF_TOKEN` and `HF_ENDPOINT` count."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pipeline.errors import WeightsError
from pipeline.pins import HubSource, Pin
from pipeline.sources.download import RefusedError, Remote, download
from pipeline.sources.progress import Progress


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
    # All parts first: what is complete stays in `partial` if a later file fails, and is not fetched twice.
    parts: list[tuple[Path, str]] = []
    for file in pin.files:
        url = f"{endpoint}/{source.repo}/resolve/{source.revision}/{file.source_path}"
        remote = Remote(url, file.size, file.identity, f"{pin.name} {file.path}", headers)
        try:
            parts.append((download(remote, partial, progress), file.path))
        except RefusedError as fault:
            raise _explain(fault, pin.name, source, bool(token)) from None
    for part, path in parts:
        target = into / path
        target.parent.mkdir(parents=True, exist_ok=True)
        part.rename(target)


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
        return WeightsError(f"{name}: {source.repo} is gated: accept its terms at {page}, then set HF_TOKEN")
    if fault.status == 404:
        return WeightsError(f"{name}: {page} has no longer what is pinned ({source.revision[:12]}): update turngap")
    return fault
