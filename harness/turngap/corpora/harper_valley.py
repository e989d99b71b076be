"""Converter of HarperValleyBank: calls to a bank over the telephone, a file a side (Wu et al., arXiv 2010.13929).

A transcript is a list of segments of both sides: `start_ms` in the call, `offset_ms` and `duration_ms` in the recording
of the segment's side, `human_transcript` by hand, and `transcript` with the times of its words by a recogniser. Callers
are volunteers with a task. A turn ends where the agent speaks next, or where the caller has paused for long.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import soundfile
from turngap_agent.errors import TurngapError

from turngap.corpora.conversion import TURN_GAP_MS
from turngap.corpora.pins import CorpusPin
from turngap.corpora.public_formats import format_error
from turngap.corpora.table import TableRow, TableWord

RECOGNISER_UNCERTAINTY_MS = 100.0
"""Assumed of ends that a recogniser's word times give; the corpus states no figure."""
_MARK = re.compile(r"\[[^]]*\]|<[^>]*>")
"""What is no word: [noise], [laughter], <unk>."""


def convert_harper_valley(pin: CorpusPin, paths: Sequence[Path], folder: Path) -> list[TableRow]:
    """Return the callers' turns of the calls among `paths` (NAME.wav, NAME.transcript.json, NAME.metadata.json).

    Raises:
        WeightsError: a file is not of that form (`weights.format`).
    """
    rows: list[TableRow] = []
    try:
        for audio in sorted(path for path in paths if path.suffix == ".wav"):
            segments = json.loads(audio.with_suffix(".transcript.json").read_text("utf-8"))
            about = json.loads(audio.with_suffix(".metadata.json").read_text("utf-8"))
            length_ms = soundfile.info(audio).duration * 1000
            speaker = f"caller {about['caller']['speaker_id']}"
            own = list(_make_rows(pin, audio.name, speaker, segments))
            rows += [row for row in own if row.end_ms <= length_ms]
            shutil.copyfile(audio, folder / audio.name)
    except (KeyError, TypeError, ValueError, soundfile.LibsndfileError, TurngapError) as error:
        raise format_error(pin, error) from None
    return rows


def _make_rows(pin: CorpusPin, file: str, speaker: str, segments: Iterable[Mapping[str, Any]]) -> Iterator[TableRow]:
    for number, (question, turn) in enumerate(_list_turns(segments), start=1):
        spans = [(float(one["offset_ms"]), float(one["offset_ms"] + one["duration_ms"])) for one in turn]
        timed = [_read_words(one) for one in turn]
        words = tuple(word for each in timed for word in each or ()) if all(timed) else ()
        yield TableRow(
            id=f"{Path(file).stem}-{number:02d}",
            file=file,
            start_ms=spans[0][0],
            end_ms=spans[-1][1],
            uncertainty_ms=RECOGNISER_UNCERTAINTY_MS,
            label_source="aligned",
            text="" if words else " ".join(_read_text(one) for one in turn),
            words=words,
            pauses_ms=() if words else tuple(_find_pauses(spans)),
            speaker=speaker,
            licence=pin.licence,
            source=pin.source,
            question=question,
        )


def _list_turns(segments: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yield each turn of the caller as its segments, with what the agent had said before."""
    said: list[str] = []
    turn: list[Mapping[str, Any]] = []
    question = ""
    for one in sorted(segments, key=lambda segment: float(segment["start_ms"])):
        if not _read_text(one) or float(one["duration_ms"]) <= 0:
            continue
        if one["speaker_role"] == "agent":
            if turn:
                yield question, turn
                turn, said = [], []
            said.append(_read_text(one))
            continue
        if turn and one["offset_ms"] - turn[-1]["offset_ms"] - turn[-1]["duration_ms"] > TURN_GAP_MS:
            yield question, turn
            turn, said = [], []
        if not turn:
            question = " ".join(said)
        turn.append(one)
    if turn:
        yield question, turn


def _find_pauses(spans: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    for (_, end), (start, _) in itertools.pairwise(spans):
        if start > end:
            yield end, start


def _read_text(segment: Mapping[str, Any]) -> str:
    return " ".join(_MARK.sub(" ", str(segment["human_transcript"])).split())


def _read_words(segment: Mapping[str, Any]) -> tuple[TableWord, ...] | None:
    """Return the words with their times where the recogniser heard what the person did; else None."""
    heard, starts, lengths = segment["transcript"].split(), segment["word_offsets_ms"], segment["word_durations_ms"]
    if heard != _read_text(segment).split() or not len(heard) == len(starts) == len(lengths):
        return None
    offset = float(segment["offset_ms"])
    return tuple(
        TableWord(text, offset + start, offset + start + length)
        for text, start, length in zip(heard, starts, lengths, strict=True)
    )
