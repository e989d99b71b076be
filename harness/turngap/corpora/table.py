"""The table of a corpus: what each row says of one turn. Times are ms from the start of the row's audio file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from turngap_agent.errors import UsageError

LabelledBy = Literal["hand", "aligned"]
"""Who found where turns end: a person; or a program that aligned the words, or detected the silence."""
UNSTATED_UNCERTAINTY_MS = 50.0
"""What is assumed of a row that does not state how exact its end is; a run's record says so."""
PAUSE_MS = 200.0
"""From this length on a gap between two words is a pause, as in every scenario."""


@dataclass(frozen=True, slots=True)
class TableWord:
    """One word of a turn."""

    text: str
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class TableRow:
    """One turn."""

    id: str
    """Unique in its table."""
    file: str
    """The audio, relative to the corpus's folder."""
    start_ms: float
    end_ms: float
    """The end of the turn: t0."""
    channel: int = 0
    """Of a file with several, the one that is heard."""
    uncertainty_ms: float | None = None
    """How far the true end may be from `end_ms`, either way; None where the table does not state it."""
    label_source: LabelledBy = "hand"
    text: str = ""
    """What is said; "" where it is not known."""
    words: tuple[TableWord, ...] = ()
    pauses_ms: tuple[tuple[float, float], ...] = ()
    """Pauses inside the turn: (start, end)."""
    speaker: str = ""
    licence: str = ""
    source: str = ""
    """Where the audio comes from, as it is to be cited."""
    question: str = ""
    """What the agent had said before; "" where it is not known."""
    place: str = ""
    """Where the row is written, for messages: FILE:LINE."""

    @property
    def duration_ms(self) -> float:
        """The length of the turn, pauses included."""
        return self.end_ms - self.start_ms

    @property
    def transcript(self) -> str:
        """What is said: `text`, else the words."""
        return self.text or " ".join(word.text for word in self.words)

    @property
    def pauses(self) -> tuple[tuple[float, float], ...]:
        """The pauses of 200 ms and more: the table's, else the gaps between its words."""
        if self.pauses_ms:
            return tuple(pause for pause in self.pauses_ms if pause[1] - pause[0] >= PAUSE_MS)
        return tuple(find_gaps(self.words))

    @property
    def stated_uncertainty_ms(self) -> float:
        """How far the true end may be from `end_ms`, as stated or assumed."""
        return UNSTATED_UNCERTAINTY_MS if self.uncertainty_ms is None else self.uncertainty_ms


@dataclass(frozen=True, slots=True)
class CorpusTable:
    """The table of a corpus, and where its audio is."""

    name: str
    folder: Path
    """The folder that files are relative to."""
    path: Path
    """The file of the table."""
    rows: tuple[TableRow, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Source and licence of the rows, as they are to be cited, each once, sorted."""
        return tuple(sorted({cite(row) for row in self.rows}))

    def locate(self, row: TableRow) -> Path:
        """Return the audio file of a row.

        Raises:
            UsageError: it would be outside the corpus's folder (`corpus.path`).
        """
        path = (self.folder / row.file).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise corpus_error(f"{row.place}: `file` {row.file!r} leads out of the corpus's folder", "path")
        return path


def cite(row: TableRow) -> str:
    """Return the row's source with its licence: "AMI Meeting Corpus (CC BY 4.0)"."""
    return f"{row.source or 'source not stated'} ({row.licence or 'licence not stated'})"


def find_gaps(words: tuple[TableWord, ...], shortest_ms: float = PAUSE_MS) -> Iterator[tuple[float, float]]:
    """Yield the gaps of at least `shortest_ms` between words in the order of time; words may overlap."""
    end_ms: float | None = None
    for word in words:
        if end_ms is not None and word.start_ms - end_ms >= shortest_ms:
            yield end_ms, word.start_ms
        end_ms = word.end_ms if end_ms is None else max(end_ms, word.end_ms)


def corpus_error(message: str, code: str) -> UsageError:
    """Return the error about a corpus: one line, with a code below `corpus`."""
    return UsageError(message, code=f"usage.corpus.{code}")
