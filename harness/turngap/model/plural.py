"""A count with its noun, for every message that has one."""

from __future__ import annotations


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 turn`, `2 turns`; with `many`, where more than an s differs: `1 turn carries`, `2 turns carry`."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
