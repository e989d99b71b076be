"""Reads mapping files, given by path or by the name of one that ships."""

from __future__ import annotations

from pathlib import Path

from turngap_agent import documents
from turngap_agent.errors import UsageError

from turngap.model.span_mapping import SpanMapping

SHIPPED = Path(__file__).resolve().parents[1] / "scenarios" / "spans"


def list_mappings() -> list[str]:
    """Return the names of the mappings that ship."""
    return documents.list_shipped(SHIPPED)


def load_mapping(name_or_path: str) -> SpanMapping:
    """Return the mapping of that name, or the one in that file.

    Raises:
        UsageError: it is unknown or malformed.
    """
    path = documents.locate(name_or_path, SHIPPED, "mapping of spans", UsageError)
    return documents.load(path, SpanMapping, UsageError)
