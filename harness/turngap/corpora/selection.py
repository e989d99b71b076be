"""Which turns of a corpus are used: filters, and a number of them drawn by a seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pydantic import Field, model_validator
from turngap_agent import documents
from turngap_agent.documents import FrozenModel

from turngap.corpora.table import TableRow, corpus_error


class CorpusSelection(FrozenModel):
    """The key `corpus` of a scenario: a corpus, and which of its turns are called."""

    name: str = Field(min_length=1)
    """A pinned corpus, or the path of a folder or archive, relative to the scenario; a path has a slash or a suffix."""
    speaker: str | tuple[str, ...] | None = None
    min_duration_ms: float | None = Field(None, ge=0)
    max_duration_ms: float | None = Field(None, gt=0)
    min_pauses: int = Field(0, ge=0)
    """Pauses of 200 ms and more inside the turn."""
    licence: str | tuple[str, ...] | None = None
    """Only turns with one of these licences."""
    count: int | None = Field(None, ge=1)
    """So many of them, drawn by the seed; all by default."""
    seed: int = Field(1, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_durations(self) -> CorpusSelection:
        low, high = self.min_duration_ms, self.max_duration_ms
        if low is not None and high is not None and low > high:
            raise documents.located_error(f"is more than `max_duration_ms`, {high:g}", ("min_duration_ms",))
        return self

    @property
    def filters(self) -> str:
        """The filters in words, "speaker A, at least 1 pause"; "" where there are none."""
        parts = []
        if self.speaker is not None:
            parts.append(f"speaker {' or '.join(_as_tuple(self.speaker))}")
        if self.licence is not None:
            parts.append(f"licence {' or '.join(_as_tuple(self.licence))}")
        if self.min_duration_ms is not None:
            parts.append(f"at least {self.min_duration_ms:,.10g} ms long")
        if self.max_duration_ms is not None:
            parts.append(f"at most {self.max_duration_ms:,.10g} ms long")
        if self.min_pauses:
            parts.append(f"at least {self.min_pauses} {'pause' if self.min_pauses == 1 else 'pauses'}")
        if self.count is not None:
            parts.append(f"{self.count} drawn by seed {self.seed}")
        return ", ".join(parts)


def select_rows(rows: Sequence[TableRow], selection: CorpusSelection) -> tuple[TableRow, ...]:
    """Return the rows that pass the filters, in the table's order; `count` of them drawn by the seed.

    Raises:
        UsageError: none passes, or fewer than `count` (`corpus.selection`); the message says what there is.
    """
    speakers, licences = _as_tuple(selection.speaker), _as_tuple(selection.licence)
    for wanted, known, kind in (
        (speakers, {row.speaker for row in rows}, "speaker"),
        (licences, {row.licence for row in rows}, "licence"),
    ):
        missing = [one for one in wanted if one not in known]
        if missing:
            listed = ", ".join(sorted(known - {""})[:20]) or "none is stated"
            raise corpus_error(
                f"no turn has the {kind} {missing[0]!r}{documents.suggest(missing[0], known)}; there are: {listed}",
                "selection",
            )
    low, high = selection.min_duration_ms, selection.max_duration_ms
    passed = [
        row
        for row in rows
        if (not speakers or row.speaker in speakers)
        and (not licences or row.licence in licences)
        and (low is None or row.duration_ms >= low)
        and (high is None or row.duration_ms <= high)
        and len(row.pauses) >= selection.min_pauses
    ]
    needed = selection.count or 1
    if len(passed) < needed:
        raise corpus_error(
            f"{len(passed)} of its turns ({len(rows)} in all) {'passes' if len(passed) == 1 else 'pass'} the filters "
            f"({selection.filters or 'none'}), and {needed} {'is' if needed == 1 else 'are'} needed",
            "selection",
        )
    if selection.count is None:
        return tuple(passed)
    drawn = set(random.Random(selection.seed).sample(range(len(passed)), selection.count))
    return tuple(row for index, row in enumerate(passed) if index in drawn)


def _as_tuple(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else value
