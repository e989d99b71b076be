"""The least that a part of an engine's work must do: bytes that must be read, operations that must be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from turngap_agent.parts import Shape


@dataclass(slots=True)
class PartWork:
    """What one part does in one unit; filled by who counts it."""

    weights_bytes: int = 0
    """Weights that one pass reads: if they fit into a cache, they may still be there from the last pass."""
    bytes_read: int = 0
    """All weights that must be read, every pass counted."""
    operations: dict[str, int] = field(default_factory=dict)
    """Multiplications and additions of products, by the type they are done in: int8, float32, bfloat16, float16."""

    def add(self, kind: str, operations: int) -> None:
        """Add operations of a type."""
        self.operations[kind] = self.operations.get(kind, 0) + operations


@runtime_checkable
class CountsWork(Protocol):
    """An engine that knows, from its model and the shapes it has noted, what each part must have done."""

    def count_work(self, shapes: Sequence[Shape]) -> Mapping[str, PartWork]:
        """Return the work by part for one unit, in which the engine noted `shapes`."""
        ...
