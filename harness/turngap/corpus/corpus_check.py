"""A check of a corpus before it is used: every row against its audio, and its end against the level; a line a fault."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from turngap_agent.errors import ScenarioError, UsageError

from turngap.corpora.table import CorpusTable, TableRow
from turngap.corpus.natural_turns import read_samples
from turngap.corpus.speech_stretches import find_speech_by_bands

MARGIN_MS = 1500.0
"""So much is read before and after a turn, for the noise floor."""
DISAGREEMENT_MS = 40.0
"""An end that lies further from the level's than this and its own uncertainty is to be looked at."""


@dataclass(frozen=True, slots=True)
class CorpusCheck:
    """What is wrong with a corpus; a line each, with the row's place."""

    faults: tuple[str, ...]
    """A run can't use these rows, or would measure something else."""
    doubts: tuple[str, ...]
    """Rows whose end and level disagree: listen to them."""


def check_corpus(table: CorpusTable, on_row: Callable[[TableRow], None] = lambda row: None) -> CorpusCheck:
    """Read every row's audio and check it; `on_row` is called before each."""
    faults = [*_list_overlaps(table.rows), *_list_word_faults(table.rows)]
    doubts = []
    for row in table.rows:
        on_row(row)
        try:
            doubt = find_doubt(table, row)
        except ScenarioError as error:
            faults.append(f"{row.place}: {error}")
        except UsageError as error:  # a path that leads out of the folder: its message has the place
            faults.append(str(error))
        else:
            if doubt is not None:
                doubts.append(f"{row.place}: turn {row.id!r}: {doubt}")
    return CorpusCheck(tuple(sorted(faults)), tuple(doubts))


def find_doubt(table: CorpusTable, row: TableRow) -> str | None:
    """Return in what the table's end and the level disagree; None where they agree.

    Raises:
        ScenarioError: the audio cannot be read, or ends before the turn does (`scenario.audio`).
        UsageError: the row's file is outside the corpus's folder (`corpus.path`).
    """
    samples, rate, first_ms = read_samples(
        table.locate(row), row.channel, row.start_ms - MARGIN_MS, row.end_ms, row.end_ms + MARGIN_MS
    )
    ends_ms = [
        first_ms + one.end_sample * 1000 / rate
        for one in find_speech_by_bands(samples, rate)
        if first_ms + one.start_sample * 1000 / rate < row.end_ms
    ]
    if not ends_ms:
        return "there is no speech over the noise floor before its end"
    apart_ms = ends_ms[-1] - row.end_ms
    if abs(apart_ms) <= row.stated_uncertainty_ms + DISAGREEMENT_MS:
        return None
    if ends_ms[-1] >= first_ms + len(samples) * 1000 / rate - 10:
        return "sound goes on after its end, for as long as is read: somebody speaks on, or the end is too early"
    return (
        f"by the level it ends {abs(apart_ms):.0f} ms {'later' if apart_ms > 0 else 'earlier'} than the table says, "
        f"which states ±{row.stated_uncertainty_ms:.0f} ms"
    )


def _list_overlaps(rows: Sequence[TableRow]) -> Iterator[str]:
    """Yield a line for each turn that begins before an earlier one on its channel has ended."""

    def track(row: TableRow) -> tuple[str, int]:
        return (row.file, row.channel)

    for _, own in itertools.groupby(sorted(rows, key=lambda row: (*track(row), row.start_ms)), track):
        earlier: TableRow | None = None
        for row in own:
            if earlier is not None and row.start_ms < earlier.end_ms:
                yield (
                    f"{row.place}: turn {row.id!r} begins {earlier.end_ms - row.start_ms:.0f} ms before turn "
                    f"{earlier.id!r} ends, on the same channel"
                )
            earlier = row if earlier is None or row.end_ms > earlier.end_ms else earlier


def _list_word_faults(rows: Sequence[TableRow]) -> Iterator[str]:
    """Yield a line for each turn with a word outside it."""
    for row in rows:
        outside = next((word for word in row.words if not row.start_ms <= word.start_ms <= row.end_ms), None)
        if outside is not None:
            yield (
                f"{row.place}: turn {row.id!r}: the word {outside.text!r} at {outside.start_ms:.0f} ms is not inside it"
            )
