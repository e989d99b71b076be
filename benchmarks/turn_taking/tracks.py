"""Recorded turns to judge endpointing on: audio with the turns in it, their pauses, and whether they are over.

A track is one speaker's audio without a break, as an agent would hear it in a call. Pauses are found in the audio by
level, so that a corpus needs only to say where its turns start and end; a corpus that knows them says so.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from turngap.caller.comfort_noise import make_comfort_noise
from turngap.caller.onset import LEVEL_FRAME_SAMPLES, levels_dbfs
from turngap.corpus.audio_sources import read_sound_file
from turngap.corpus.labels import speech_threshold_dbfs
from turngap.model.records import Pcm16
from turngap_agent.errors import UsageError
from turngap_agent.telephony import SAMPLE_RATE, mulaw

Span = tuple[int, int]
"""First sample, and the sample after the last, at 8 kHz."""

PER_MS = SAMPLE_RATE // 1000
LEAST_PAUSE_MS = 100
"""A shorter silence inside a turn is no pause; eot-bench lists the same."""
TAIL_MS = 3000
"""Silence after a track, so that every policy reaches its end."""
LEAD_MS = 256
TABLE = "turns.csv"
COLUMNS = ("id", "file", "channel", "start_s", "end_s", "speaker", "over")


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """One turn in a track."""

    speech: Span
    pauses: tuple[Span, ...]
    """Inside the turn, in order: the speaker goes on after each."""
    over: bool
    """Whether the speaker is done at its end; False where the recording or the next stretch cuts in."""


@dataclass(frozen=True, slots=True)
class Track:
    """One speaker's audio, and the turns in it."""

    corpus: str
    name: str
    speaker: str
    pcm: Pcm16
    turns: tuple[RecordedTurn, ...]
    question: str = ""
    """What the agent has said before, if the corpus knows."""


def find_pauses(pcm: Pcm16, speech: Span, least_ms: int = LEAST_PAUSE_MS) -> tuple[Span, ...]:
    """Return the silences of `least_ms` and more inside `speech`, by the level of 10 ms frames (as t0's label)."""
    start, end = speech
    inside = pcm[start:end]
    if len(inside) < LEVEL_FRAME_SAMPLES:
        return ()
    over = np.flatnonzero(levels_dbfs(inside) > speech_threshold_dbfs(inside))
    gaps = [
        (start + (int(last) + 1) * LEVEL_FRAME_SAMPLES, start + int(first) * LEVEL_FRAME_SAMPLES)
        for last, first in itertools.pairwise(over)
    ]
    return tuple(gap for gap in gaps if gap[1] - gap[0] >= least_ms * PER_MS)


def to_telephone(pcm: Pcm16) -> Pcm16:
    """Return audio at 8 kHz as it sounds after μ-law."""
    return mulaw.decode(mulaw.encode(pcm))


def with_tail(pcm: Pcm16, name: str) -> Pcm16:
    """Return audio followed by comfort noise, so that every policy reaches its end."""
    return np.concatenate([pcm, make_comfort_noise(TAIL_MS * PER_MS, f"{name}:tail")])


def read_folder(folder: Path) -> list[Track]:
    """Read a folder of audio files and `turns.csv`, a line a turn: the columns `COLUMNS`, and if you like `pauses`.

    `channel` counts from 0; `over` is yes or no; `pauses` are spans in seconds, "1.20-1.62 3.00-3.44", and empty where
    the audio is to say. Turns of one file and channel are one track.

    Raises:
        UsageError: the table is missing or a line does not fit, with file and line; or audio that cannot be read.
    """
    table = folder / TABLE
    if not table.is_file():
        raise UsageError(f"{folder}: no {TABLE}; a corpus of turns is a folder of audio files with that table")
    rows: dict[tuple[str, int, str], list[tuple[Span, tuple[Span, ...] | None, bool]]] = {}
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if missing := set(COLUMNS) - set(reader.fieldnames or ()):
            raise UsageError(f"{table}:1: no column {', '.join(sorted(missing))}; there must be {', '.join(COLUMNS)}")
        for line, row in enumerate(reader, 2):
            try:
                speech = _span(row["start_s"], row["end_s"])
                given = (row.get("pauses") or "").split()
                pauses = tuple(_span(*one.split("-")) for one in given) if given else None
                key = (row["file"], int(row["channel"]), row["speaker"])
                over = {"yes": True, "no": False}[row["over"].strip().lower()]
            except (ValueError, TypeError, KeyError) as error:
                raise UsageError(f"{table}:{line}: {error}; seconds like 1.25, over: yes or no") from None
            rows.setdefault(key, []).append((speech, pauses, over))
    return [_make_track(folder, key, sorted(turns)) for key, turns in rows.items()]


def _span(start_s: str, end_s: str) -> Span:
    span = round(float(start_s) * SAMPLE_RATE), round(float(end_s) * SAMPLE_RATE)
    if not 0 <= span[0] < span[1]:
        raise ValueError(f"{start_s} to {end_s} s is no stretch of time")
    return span


def _make_track(
    folder: Path, key: tuple[str, int, str], rows: Sequence[tuple[Span, tuple[Span, ...] | None, bool]]
) -> Track:
    name, channel, speaker = key
    pcm = with_tail(to_telephone(_read_channel(folder / name, channel)), name)
    turns = tuple(
        RecordedTurn(speech, find_pauses(pcm, speech) if pauses is None else pauses, over)
        for speech, pauses, over in rows
    )
    return Track(folder.name, f"{name}:{channel}", speaker, pcm, turns)


def _read_channel(path: Path, channel: int) -> Pcm16:
    audio, rate = read_sound_file(path, "float64")
    if channel >= audio.shape[1]:
        raise UsageError(f"{path}: no channel {channel}; it has {audio.shape[1]}, counted from 0")
    mono = audio[:, channel]
    if rate != SAMPLE_RATE:
        import librosa  # takes a second to import

        mono = librosa.resample(mono, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    return np.asarray(np.clip(np.rint(mono * 32_768), -32_768, 32_767), np.int16)


def count_pauses(tracks: Iterable[Track], least_ms: int) -> int:
    """Return how many pauses of at least `least_ms` the tracks have."""
    return sum(
        end - start >= least_ms * PER_MS for track in tracks for turn in track.turns for start, end in turn.pauses
    )
