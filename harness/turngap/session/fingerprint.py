"""What identifies the build of an agent, so that several runs on one build can be counted as such."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import re
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from turngap.model.sip_url import is_sip_url
from turngap.session.request import Request
from turngap.store.ledger import hash_json

PACKAGE = "turngap_agent"
NOT_THE_AGENT = ("name", "description", "price", "network")
"""Keys of a profile that change nothing in the agent."""
ENGINE_GROUP = "turngap_agent.engines"
HEALTH_PAGE, HEALTH_TIMEOUT_S, HEALTH_MOST_BYTES = "/healthz", 2.0, 64 << 10
IDENTITIES = ("build", "commit", "image", "model", "models", "profile", "release", "revision", "sha", "version")
"""Keys of a health page that name a build; others, such as uptime, change from one minute to the next."""
WHOLE_BYTES = 64 << 20
"""Of larger weights of the user's own only size, beginning and end are hashed: reading them all takes long."""
_END_BYTES = 1 << 20


async def identify_build(request: Request) -> dict[str, str]:
    """Return what the agent's build is known by, as short texts by name.

    Of an agent that is started: its settings, the source of its package with the pins of all weights, the versions of
    what it is built on, and the content of the user's own weights. Of one at a URL: that URL, and what its health page
    names.
    """
    if request.url is not None and is_sip_url(request.url):
        return {"url": request.url}
    if request.url is not None:
        return {"url": request.url, **await asyncio.to_thread(_read_health_page, request.url)}
    return await asyncio.to_thread(_identify_profile, request)


def make_fingerprint(build: Mapping[str, str]) -> str:
    """Return the fingerprint of a build: 16 hexadecimal digits."""
    return hash_json(dict(build))[:16]


def _identify_profile(request: Request) -> dict[str, str]:
    settings = {key: value for key, value in request.profile_data.items() if key not in NOT_THE_AGENT}
    started = {"inject": list(request.options.inject), "nice": request.options.agent_nice}
    return {
        "settings": hash_json(settings)[:16],
        "started with": hash_json(started)[:16],
        "source": _hash_package(PACKAGE),
        "python": platform.python_version(),
        **{f"package {name}": version for name, version in sorted(_list_versions().items())},
        **{f"weights {path}": _hash_path(Path(path).expanduser()) for path in sorted(set(_list_own_paths(settings)))},
    }


def _hash_package(name: str) -> str:
    """Return the hash of all files of an installed package; the agent's has the pins of its weights in it."""
    spec = importlib.util.find_spec(name)  # without importing it: engines never load in this process
    digest = hashlib.sha256()
    for folder in sorted(spec.submodule_search_locations or () if spec is not None else ()):
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(folder)}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _list_versions() -> dict[str, str]:
    """Return the installed versions of what turngap and its extras require, and of packages with engines."""
    engines = importlib.metadata.entry_points(group=ENGINE_GROUP)
    names = {"turngap", *(entry.dist.name for entry in engines if entry.dist is not None)}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for requirement in importlib.metadata.requires("turngap") or ():
            names.add(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
    versions = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name.lower()] = importlib.metadata.version(name)
    return versions


def _list_own_paths(settings: Any) -> Iterator[str]:
    """Return the values in the settings that are files or folders of this machine."""
    if isinstance(settings, Mapping):
        for value in settings.values():
            yield from _list_own_paths(value)
    elif isinstance(settings, (list, tuple)):
        for value in settings:
            yield from _list_own_paths(value)
    elif isinstance(settings, str) and "/" in settings and "\n" not in settings:
        with contextlib.suppress(OSError):
            if Path(settings).expanduser().exists():
                yield settings


def _hash_path(path: Path) -> str:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(path) if path.is_dir() else file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            if file.stat().st_size <= WHOLE_BYTES:
                digest.update(hashlib.file_digest(content, "sha256").digest())
            else:
                digest.update(content.read(_END_BYTES))
                content.seek(-_END_BYTES, 2)
                digest.update(content.read())
    return digest.hexdigest()[:16]


def _read_health_page(url: str) -> dict[str, str]:
    """Return what the health page of the agent at a WebSocket URL names; {} where there is no such page."""
    parts = urlsplit(url)
    page = urlunsplit(("https" if parts.scheme == "wss" else "http", parts.netloc, HEALTH_PAGE, "", ""))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError, ValueError):
        with opener.open(page, timeout=HEALTH_TIMEOUT_S) as response:
            named = json.loads(response.read(HEALTH_MOST_BYTES))
        if isinstance(named, dict):
            return {f"health {key}": json.dumps(named[key], sort_keys=True) for key in IDENTITIES if key in named}
    return {}
