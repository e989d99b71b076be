"""Formats a count with its noun, for messages: `1 turn`, `2 turns`."""

from __future__ import annotations


def plural(count: int, singular: str, many: str | None = None) -> str:
    """`1 turn`, `2 turns`; with `many`, where more than an s differs: `1 turn carries`, `2 turns carry`."""
    return f"{count:,} {singular if count == 1 else many or f'{singular}s'}"
