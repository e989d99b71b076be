"""What the Hugging Face hub states of a repository's files at one commit: path, size, and what each must be."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from pydantic import ValidationError

from turngap_agent.errors import WeightsError
from turngap_agent.weights.pins import File, HubSource
from turngap_agent.weights.sources.download import TIMEOUT_S, RefusedError

_MOST_PAGES = 100
_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')


def stated(name: str, source: HubSource, endpoint: str, headers: Mapping[str, str]) -> tuple[File, ...]:
    """The files that `source.take` names, from `/api/models/REPO/tree/REVISION`, by path.

    A file in Git LFS is known by its sha256, any other by its git object id.

    Raises:
        RefusedError: the hub says no.
        WeightsError: no network, an answer that is no listing, or a file that `take` names is not there.
    """
    take = source.take or ()
    rows = _rows(name, f"{endpoint}/api/models/{source.repo}/tree/{source.revision}?recursive=true", headers)
    try:
        files = [_file(row) for row in rows if row.get("type") == "file" and _taken(row["path"], take)]
    except (KeyError, TypeError, AttributeError, ValidationError):
        raise _no_listing(name, endpoint) from None
    missing = [one for one in take if not any(fnmatchcase(file.path, one) for file in files) and "*" not in one]
    if missing or not files:
        raise WeightsError(
            f"{name}: {source.repo} has no {', '.join(missing or take)} at {source.revision[:12]}: update turngap"
        )
    return tuple(sorted({file.path: file for file in files}.values(), key=lambda file: file.path))


def _file(row: Mapping[str, Any]) -> File:
    path, lfs = row["path"], row.get("lfs")
    if lfs:
        return File(source_path=path, path=path, size=lfs["size"], sha256=lfs["oid"].removeprefix("sha256:"))
    return File(source_path=path, path=path, size=row["size"], git=row["oid"])


def _taken(path: str, take: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, one) for one in take)


def _rows(name: str, url: str, headers: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """The listing's rows; it comes in pages, each with a link to the next."""
    rows: list[Mapping[str, Any]] = []
    origin = url.partition("/api/")[0]
    for _ in range(_MOST_PAGES):
        page, link = _page(name, url, headers)
        rows += page
        onward = _NEXT.search(link)
        # The token is for this host alone.
        if onward is None or not onward[1].startswith(f"{origin}/"):
            break
        url = onward[1]
    return rows


def _page(name: str, url: str, headers: Mapping[str, str]) -> tuple[list[Mapping[str, Any]], str]:
    request = urllib.request.Request(url, headers={"User-Agent": "turngap"})
    for key, value in headers.items():
        request.add_unredirected_header(key, value)
    bare = url.partition("?")[0]
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            rows, link = json.load(response), response.headers.get("Link", "")
    except urllib.error.HTTPError as fault:
        fault.close()
        if fault.code == 429 or fault.code >= 500:
            raise WeightsError(f"{name}: {bare} answered HTTP {fault.code}: try again later") from None
        raise RefusedError(f"{name}: {bare} answered HTTP {fault.code}", fault.code) from None
    except ValueError:
        raise _no_listing(name, bare) from None
    except (OSError, http.client.HTTPException) as fault:
        reason = fault.reason if isinstance(fault, urllib.error.URLError) else fault
        raise WeightsError(f"{name}: no answer from {bare} ({' '.join(str(reason).split())}): run it again") from None
    if not isinstance(rows, list):
        raise _no_listing(name, bare)
    return rows, link


def _no_listing(name: str, where: str) -> WeightsError:
    return WeightsError(f"{name}: {where} does not list files as the hub does: check HF_ENDPOINT")
