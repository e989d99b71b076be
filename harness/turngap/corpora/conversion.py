"""Makes a table of recordings and their labels: stretches of one speaker with short gaps between them are one turn."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from turngap_agent import files
from turngap_agent.errors import write_error

from turngap.annotations import Annotations, Stretch, find_label_file, join_stretches, read_annotations
from turngap.annotations.nist import parse_ctm, parse_rttm, parse_stm
from turngap.annotations.reading import read_label_text
from turngap.corpora.reading import format_table
from turngap.corpora.table import PAUSE_MS, UNSTATED_UNCERTAINTY_MS, LabelledBy, TableRow, TableWord, corpus_error

TURN_GAP_MS = 1500.0
"""A speaker who goes on sooner has paused; later, the turn was over."""
TABLE = "corpus.jsonl"
_MANY_RECORDINGS = {".rttm": parse_rttm, ".ctm": parse_ctm, ".stm": parse_stm}


@dataclass(frozen=True, slots=True)
class ConversionSettings:
    """How labels become turns, and what the table says of all of them."""

    turn_gap_ms: float = TURN_GAP_MS
    uncertainty_ms: float = UNSTATED_UNCERTAINTY_MS
    channel: int | None = None
    """The channel of labels that name none; None: the first."""
    speaker: str | None = None
    """Only this speaker's turns."""
    licence: str = ""
    source: str = ""
    label_source: LabelledBy = "hand"
    separate_speakers: bool = False
    """Whether speakers of different recordings are different people, though their names may be alike."""


def make_rows(name: str, annotations: Annotations, settings: ConversionSettings) -> tuple[TableRow, ...]:
    """Return the turns of one recording, in the order of time; `name` is its file."""
    chosen = annotations.select(speaker=settings.speaker)
    pieces = sorted(chosen.speech, key=lambda one: one.start_ms)
    turns = join_stretches(pieces, settings.turn_gap_ms)
    rows = []
    for number, turn in enumerate(turns, start=1):
        channel = turn.channel if turn.channel is not None else settings.channel or 0
        inside = [one for one in pieces if _belongs(one, turn)]
        words = tuple(
            TableWord(word.text, word.start_ms, word.end_ms)
            for word in chosen.words
            if (word.speaker, word.channel) == (turn.speaker, turn.channel)
            and turn.start_ms <= word.start_ms
            and word.end_ms <= turn.end_ms
        )
        rows.append(
            TableRow(
                id=f"{Path(name).stem}-{number:03d}",
                file=name,
                start_ms=turn.start_ms,
                end_ms=turn.end_ms,
                channel=channel,
                uncertainty_ms=settings.uncertainty_ms,
                label_source=settings.label_source,
                text="" if words else turn.text,
                words=words,
                pauses_ms=find_pauses(inside),
                speaker=f"{Path(name).stem}:{turn.speaker}" if settings.separate_speakers else turn.speaker,
                licence=settings.licence,
                source=settings.source,
            )
        )
    return tuple(rows)


def find_pauses(stretches: Sequence[Stretch]) -> tuple[tuple[float, float], ...]:
    """Return the gaps of 200 ms and more between stretches in the order of time; they may overlap."""
    pauses = []
    end_ms = stretches[0].end_ms
    for one in stretches[1:]:
        if one.start_ms - end_ms >= PAUSE_MS:
            pauses.append((end_ms, one.start_ms))
        end_ms = max(end_ms, one.end_ms)
    return tuple(pauses)


def pair_labels(recordings: Sequence[Path], labels: Sequence[Path]) -> dict[Path, Annotations]:
    """Return the labels of each recording: of the file with its name among `labels`, or beside it.

    One file for several recordings (RTTM, CTM, STM) is read for each by its name.

    Raises:
        ScenarioError: a label file is malformed (`scenario.labels`).
        UsageError: a recording has none (`corpus.labels`).
    """
    by_stem = {path.stem: path for path in labels}
    paired: dict[Path, Annotations] = {}
    for recording in recordings:
        path = by_stem.get(recording.stem) or (labels[0] if len(labels) == 1 else None) or find_label_file(recording)
        if path is None:
            raise corpus_error(
                f"{recording}: there is no label file for it; put one with its name beside it, or give --labels",
                "labels",
            )
        parse = _MANY_RECORDINGS.get(path.suffix.lower())
        if parse is not None and path.stem != recording.stem:
            paired[recording] = parse(read_label_text(path), str(path), recording.stem)
        elif len(recordings) > 1 and len(labels) == 1 and path.stem != recording.stem:
            raise corpus_error(f"{path}: it is the labels of one recording, and {len(recordings)} are given", "labels")
        else:
            paired[recording] = read_annotations(path)
    return paired


def write_corpus(folder: Path, recordings: Mapping[Path, Sequence[TableRow]]) -> Path:
    """Write the table, and copies of the recordings that have turns, into the new `folder`; return the table.

    Raises:
        UsageError: the folder is there already, two recordings have one name, or there are no turns
            (`corpus.output`); nothing is written.
        HarnessError: the disk is full.
    """
    if folder.exists():
        raise corpus_error(f"{folder}: it is there already; give a folder that is not", "output")
    rows = [row for own in recordings.values() for row in own]
    if not rows:
        raise corpus_error("there is no speech in the labels, so there are no turns to write", "output")
    names = [path.name for path in recordings]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise corpus_error(f"two recordings have the name {twice}; rename one", "output")
    draft = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        draft.mkdir(parents=True)
        for path, own in recordings.items():
            if own:
                shutil.copyfile(path, draft / path.name)
        files.replace_file(draft / TABLE, format_table(rows))
        draft.rename(folder)
    except OSError as error:
        raise write_error(f"{folder}: the corpus cannot be written", error) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder / TABLE


def _belongs(piece: Stretch, turn: Stretch) -> bool:
    return (
        (piece.speaker, piece.channel) == (turn.speaker, turn.channel)
        and turn.start_ms <= piece.start_ms
        and piece.end_ms <= turn.end_ms
    )
