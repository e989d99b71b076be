"""Formats a count with its noun, for messages: `1 turn`, `2 turns`."""

from __future__ import annotations


def plural(count: int, singular: str, many: str | None = None) -> str:
    """`1 turn`, `2 turns`; with `many`, where more than an s differs: `1 turn carries`, `2 turns carry`."""
    return f"{count:,} {singular if count == 1 else many or f'{singular}s'}"


def ordinal(number: int) -> str:
    """Return `1st`, `2nd`, `3rd`, `11th`, ..."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
