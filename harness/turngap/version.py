"""The installed version, from the package's metadata."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def read_version() -> str:
    """Return the version, or a word that says that there is none."""
    try:
        return version("turngap")
    except PackageNotFoundError:
        return "(not installed)"
