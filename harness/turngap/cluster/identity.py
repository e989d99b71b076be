"""What a machine would measure with: versions, source and scenario. Nodes that differ are refused."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from turngap_agent.errors import UsageError

PACKAGES = ("turngap", "numpy", "ray", "scipy", "websockets")
"""Packages that decide what is sent and how it is scored."""
SOURCES = ("turngap", "turngap_agent")
ABSENT = "absent"


def describe_installation(scenario: Path | None = None) -> dict[str, str]:
    """Return what this machine would measure with, by name, and the hash of the file `scenario` if it is here."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ABSENT
    for name in SOURCES:
        found[f"source of {name}"] = _hash_source(name)
    if scenario is not None and scenario.is_file():
        found[f"scenario {scenario.name}"] = hashlib.sha256(scenario.read_bytes()).hexdigest()[:16]
    return found


def check_installations(here: Mapping[str, str], nodes: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse nodes that differ from this machine; a scenario file that a node does not have is sent to it.

    Raises:
        UsageError: one line for all nodes: what differs where.
    """
    differences = [
        f"{node} has {_name_difference(name, there)}, not {here[name]}"
        for node, found in nodes.items()
        for name, there in _list_differences(here, found)[:1]
    ]
    if differences:
        raise UsageError(
            f"the nodes of the cluster differ: {'; '.join(differences)}: install the same version of turngap and its "
            "packages on each; nothing was placed",
            code="usage.nodes",
        )


def _list_differences(here: Mapping[str, str], there: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    listed = []
    for name, value in here.items():
        other = there.get(name, ABSENT)
        if other != value and not (name.startswith("scenario ") and other == ABSENT):
            listed.append((name, other))
    return listed


def _name_difference(name: str, value: str) -> str:
    return f"no {name}" if value == ABSENT else f"{name} {value}"


def _hash_source(package: str) -> str:
    """Return the hash of a package's modules, without importing it."""
    spec = importlib.util.find_spec(package)
    digest = hashlib.sha256()
    for folder in sorted(spec.submodule_search_locations or () if spec is not None else ()):
        for file in sorted(Path(folder).rglob("*.py")):
            digest.update(f"{file.relative_to(folder)}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16] if spec is not None else ABSENT
