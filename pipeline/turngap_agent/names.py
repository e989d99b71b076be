"""Names of profiles, scenarios, keys: how they are written, and the nearest of those that there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

NAME = r"^[a-z0-9][a-z0-9-]*$"
"""The pattern of names: of profiles, scenarios, budgets."""
SIMILAR = 0.75
"""Names less alike than this (ratio of `difflib`) are not suggested in place of one another."""
NEAR_KEY = 0.6
"""Keys are suggested sooner: there are few of them, and the line is known."""


def find_nearest(name: str, known: Iterable[str], cutoff: float = SIMILAR) -> str | None:
    """Return the one of `known` that is most like `name`, whatever its case; None if none is near."""
    names = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name.casefold(), list(names), n=1, cutoff=cutoff)
    return names[near[0]] if near else None


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'NAME'?" with the nearest of `known`, or "" if none is near."""
    near = find_nearest(name, known)
    return f"; did you mean {near!r}?" if near is not None else ""


def list_choices(name: str, known: Iterable[str]) -> str:
    """Return what the message about a name that is none of `known` ends with: the nearest one, and all of them."""
    names = list(known)
    near = find_nearest(name, names)
    listed = f"there are: {', '.join(names)}"
    return f"; did you mean {near!r}? T{listed[1:]}" if near is not None else f"; {listed}"
