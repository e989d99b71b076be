"""What a corpus has in all: turns, speakers, minutes, pauses by their length, licences. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from turngap.corpora.table import TableRow, cite

PAUSE_EDGES_MS = (200, 400, 600, 1000)
"""Pauses are counted from each of these to the next."""


@dataclass(frozen=True, slots=True)
class CorpusTotals:
    """The totals of some rows."""

    turns: int
    speakers: int
    """Those that are named."""
    minutes: float
    """Of the turns, pauses included."""
    with_words: int
    """Turns whose words or text are known."""
    with_word_times: int
    with_question: int
    aligned: int
    """Turns whose ends a program found, not a person."""
    unstated_uncertainty: int
    """Turns that do not say how exact their end is."""
    pauses: dict[str, int]
    """By length: "200 to 400 ms", and so on."""
    licences: dict[str, int]
    sources: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the totals as data."""
        return asdict(self)


def sum_rows(rows: Sequence[TableRow]) -> CorpusTotals:
    """Return the totals of the rows."""
    lengths = [end - start for row in rows for start, end in row.pauses]
    return CorpusTotals(
        turns=len(rows),
        speakers=len({row.speaker for row in rows} - {""}),
        minutes=sum(row.duration_ms for row in rows) / 60_000,
        with_words=sum(bool(row.transcript) for row in rows),
        with_word_times=sum(bool(row.words) for row in rows),
        with_question=sum(bool(row.question) for row in rows),
        aligned=sum(row.label_source == "aligned" for row in rows),
        unstated_uncertainty=sum(row.uncertainty_ms is None for row in rows),
        pauses=count_pauses(lengths),
        licences=dict(Counter(row.licence or "not stated" for row in rows).most_common()),
        sources=dict(Counter(cite(row) for row in rows).most_common()),
    )


def count_pauses(lengths_ms: Sequence[float]) -> dict[str, int]:
    """Return how many pauses there are of each length."""
    counts = {}
    for low, high in zip(PAUSE_EDGES_MS, (*PAUSE_EDGES_MS[1:], None), strict=True):
        name = f"{low:,} to {high:,} ms" if high is not None else f"{low:,} ms and more"
        counts[name] = sum(low <= length and (high is None or length < high) for length in lengths_ms)
    return counts
