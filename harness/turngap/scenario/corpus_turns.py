"""The turns that a scenario draws from a corpus: its key `corpus`, expanded into turns with their excerpts."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from turngap_agent.errors import ScenarioError, UsageError

from turngap.corpora.opening import open_corpus
from turngap.corpora.selection import CorpusSelection, select_rows
from turngap.corpora.table import CorpusTable, TableRow, cite
from turngap.scenario.turn import Excerpt, Noise, Turn


class CorpusTurns(CorpusSelection):
    """The key `corpus`: which turns of a corpus are called, and what holds for each of them."""

    pause_ms: int = Field(600, ge=0, le=60_000)
    """As in a turn: comfort noise before it."""
    answer_within_ms: int = Field(6000, ge=100, le=60_000)
    wer_limit: float = Field(0.34, ge=0)
    noise: Noise | None = None


def draw_turns(drawn: CorpusTurns, folder: Path) -> tuple[Turn, ...]:
    """Return the turns of the corpus that pass the filters; a path of the corpus is relative to `folder`.

    Raises:
        ScenarioError: there is no such corpus, it is not fetched, its table has faults, or too few turns pass
            (`scenario.corpus`).
    """
    try:
        table = open_corpus(drawn.name, folder)
        return tuple(_make_turn(table, row, drawn) for row in select_rows(table.rows, drawn))
    except UsageError as error:
        raise ScenarioError(str(error), code="scenario.corpus") from None


def _make_turn(table: CorpusTable, row: TableRow, drawn: CorpusTurns) -> Turn:
    excerpt = Excerpt(
        file=table.locate(row),
        channel=row.channel,
        start_ms=row.start_ms,
        end_ms=row.end_ms,
        uncertainty_ms=row.stated_uncertainty_ms,
        pauses_ms=row.pauses,
        label_source=row.label_source,
        source=cite(row),
        place=row.place,
    )
    return Turn(
        id=row.id,
        excerpt=excerpt,
        expect=row.transcript or None,
        stratum=table.name,
        pause_ms=drawn.pause_ms,
        answer_within_ms=drawn.answer_within_ms,
        wer_limit=drawn.wer_limit,
        noise=drawn.noise,
    )
