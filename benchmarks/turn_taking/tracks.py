"""Recorded turns to judge endpointing on: audio with the turns in it, their pauses, and whether they are over.

A track is one speaker's audio without a break, as an agent would hear it in a call. A corpus says where its turns start
and end; pauses that it does not give are found in the audio by level.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from turngap.caller.comfort_noise import make_comfort_noise
from turngap.caller.onset import LEVEL_FRAME_SAMPLES, levels_dbfs
from turngap.corpora.opening import open_corpus
from turngap.corpora.table import CorpusTable, TableRow
from turngap.corpus import clips
from turngap.corpus.audio_sources import PromptLibrary, read_sound_file
from turngap.corpus.clips import build_corpus
from turngap.corpus.labels import speech_threshold_dbfs
from turngap.model.records import Clip, Pcm16
from turngap.session.run_documents import load_scenario
from turngap_agent.endpointing.words_and_melody.features import load_model
from turngap_agent.errors import UsageError
from turngap_agent.telephony import SAMPLE_RATE, mulaw

from benchmarks.promises import print_progress

Span = tuple[int, int]
"""First sample, and the sample after the last, at 8 kHz."""

PER_MS = SAMPLE_RATE // 1000
LEAST_PAUSE_MS = 100
"""A shorter silence inside a turn is no pause; eot-bench lists the same."""
OVER_MS = 500
"""A turn is over if nothing of its speaker follows for so long in the recording; else nobody knows."""
TAIL_MS = 3000
"""Silence after a track, so that every policy reaches its end."""
LEAD_MS = 256
MADE_PAUSES_MS = (250, 400, 700)
GATE = "gate"
"""The utterances of the scenario of that name, with their pauses."""
JOINING = frozenset({"and", "followed", "from", "is", "or", "then", "to"})
"""A prompt that begins with one of them is the rest of another one."""
READ, READ_TO_FIT = "read", "read-to-fit"
"""The two halves of the read prompts: judged, and fitted on."""


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """One turn in a track."""

    speech: Span
    pauses: tuple[Span, ...]
    """Inside the turn, in order: the speaker goes on after each."""
    over: bool
    """Whether the speaker is done at its end; False where the recording or the next stretch cuts in."""
    question: str = ""
    """What the agent had said before; "" where it is not known."""


@dataclass(frozen=True, slots=True)
class Track:
    """One speaker's audio, and the turns in it."""

    corpus: str
    name: str
    speaker: str
    pcm: Pcm16
    turns: tuple[RecordedTurn, ...]


def load_tracks(name_or_path: str, limit: int) -> list[Track]:
    """Return the tracks of a corpus, at most `limit` prompts of the read ones.

    Raises:
        UsageError: there is no such corpus, or it has faults.
    """
    if name_or_path in (READ, READ_TO_FIT):
        return make_read_tracks(limit, name_or_path)
    if name_or_path == GATE:
        return make_scenario_tracks(GATE)
    return read_tracks(open_corpus(name_or_path))


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


def read_tracks(table: CorpusTable) -> list[Track]:
    """Return the tracks of a corpus: the turns of one file and channel, in order.

    Raises:
        UsageError: audio is missing or cannot be read, or has no such channel.
    """
    rows: dict[tuple[str, int], list[TableRow]] = {}
    for row in table.rows:
        rows.setdefault((row.file, row.channel), []).append(row)
    return [_make_track(table, sorted(of, key=lambda row: row.start_ms)) for of in rows.values()]


def make_read_tracks(limit: int, half: str = READ) -> list[Track]:
    """Return `limit` prompts read by one speaker, and as many pairs with a made pause of each length between them."""
    library = PromptLibrary.fetch(print_progress)
    chosen = [name for name in library.list_names() if _half(name) == half]
    spoken = [clip for name in chosen if (clip := _load_sentence(library, name)) is not None][:limit]
    tracks = [_join([clip], half, 0) for clip in spoken]
    for pause_ms in MADE_PAUSES_MS:
        tracks += [_join([one, other], half, pause_ms) for one, other in itertools.pairwise(spoken)]
    return tracks


def make_scenario_tracks(name: str) -> list[Track]:
    """Return the utterances of a scenario that ships, each alone, with its pauses of 200 ms and more."""
    corpus = build_corpus(load_scenario(name), print_progress)
    return [_make_utterance_track(name, corpus.clips[turn.key]) for turn in corpus.scenario.turns]


def is_fragment(transcript: str) -> bool:
    """Whether a prompt is to be joined with others: nobody's turn ends with "incoming call from".

    Its transcript then begins or ends with an ellipsis, ends with a colon, begins with a word that joins it to what
    came before, or ends with a word that asks for another one.
    """
    marks = ("...", "…")
    words = re.findall(r"[a-z']+", transcript.lower())
    text = transcript.strip()
    broken_off = text.startswith(marks) or text.endswith((*marks, ":"))
    joined = bool(words) and (words[0] in JOINING or words[-1] in load_model().open_words)
    return broken_off or joined


def count_pauses(tracks: Iterable[Track], least_ms: int) -> int:
    """Return how many pauses of at least `least_ms` the tracks have."""
    return sum(
        end - start >= least_ms * PER_MS for track in tracks for turn in track.turns for start, end in turn.pauses
    )


def _half(name: str) -> str:
    return READ if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 else READ_TO_FIT


def _load_sentence(library: PromptLibrary, name: str) -> Clip | None:
    """Return a prompt if it is complete, has three words or more, takes 1 to 8 s and has a certain end; else None."""
    prompt = library.read(name)
    transcript = prompt.transcript or ""
    if len(clips.clean_transcript(transcript).split()) < 3 or is_fragment(transcript):
        return None
    clip = clips.make_clip(name, [prompt])
    return clip if isinstance(clip, Clip) and 8_000 <= len(clip.pcm) <= 64_000 else None


def _join(spoken: Sequence[Clip], corpus: str, pause_ms: int) -> Track:
    name = spoken[0].clip_id if len(spoken) == 1 else f"{spoken[0].clip_id}+{pause_ms}"
    parts: list[Pcm16] = [make_comfort_noise(LEAD_MS * PER_MS, f"{name}:lead")]
    start, made = len(parts[0]) + spoken[0].speech_start_sample, []
    for at, clip in enumerate(spoken):
        if at:
            begun = sum(map(len, parts))
            made.append((begun, begun + pause_ms * PER_MS))
            parts.append(make_comfort_noise(pause_ms * PER_MS, f"{name}:gap"))
        parts.append(clip.pcm[clip.speech_start_sample :] if at else clip.pcm)
    speech = start, sum(map(len, parts))
    pcm = _to_telephone(np.concatenate([*parts, make_comfort_noise(TAIL_MS * PER_MS, f"{name}:tail")]))
    if pause_ms:
        return Track(
            f"{corpus}, {pause_ms} ms between", name, "prompts", pcm, (RecordedTurn(speech, tuple(made), True),)
        )
    return Track(corpus, name, "prompts", pcm, (RecordedTurn(speech, find_pauses(pcm, speech), True),))


def _make_utterance_track(corpus: str, clip: Clip) -> Track:
    lead = make_comfort_noise(LEAD_MS * PER_MS, f"{clip.clip_id}:lead")
    tail = make_comfort_noise(TAIL_MS * PER_MS, f"{clip.clip_id}:tail")
    speech = len(lead) + clip.speech_start_sample, len(lead) + len(clip.pcm)
    pauses = tuple((start + len(lead), end + len(lead)) for start, end in clip.pauses)
    pcm = _to_telephone(np.concatenate([lead, clip.pcm, tail]))
    return Track(corpus, clip.clip_id, "prompts", pcm, (RecordedTurn(speech, pauses, True),))


def _make_track(table: CorpusTable, rows: Sequence[TableRow]) -> Track:
    first = rows[0]
    audio = _to_telephone(_read_channel(table.locate(first), first.channel))
    pcm = np.concatenate([audio, make_comfort_noise(TAIL_MS * PER_MS, f"{first.file}:tail")])
    turns = []
    for at, row in enumerate(rows):
        speech = round(row.start_ms * PER_MS), min(round(row.end_ms * PER_MS), len(audio))
        until = rows[at + 1].start_ms * PER_MS if at + 1 < len(rows) else len(audio)
        given = tuple((round(start * PER_MS), round(end * PER_MS)) for start, end in row.pauses_ms)
        over = until - speech[1] >= OVER_MS * PER_MS
        turns.append(RecordedTurn(speech, given or find_pauses(audio, speech), over, row.question))
    return Track(table.name, f"{first.file}:{first.channel}", first.speaker or first.file, pcm, tuple(turns))


def _to_telephone(pcm: Pcm16) -> Pcm16:
    """Return audio at 8 kHz as it sounds after μ-law."""
    return mulaw.decode(mulaw.encode(pcm))


def _read_channel(path: Path, channel: int) -> Pcm16:
    audio, rate = read_sound_file(path, "float64")
    if channel >= audio.shape[1]:
        raise UsageError(f"{path}: no channel {channel}; it has {audio.shape[1]}, counted from 0")
    mono = audio[:, channel]
    if rate != SAMPLE_RATE:
        import librosa  # takes a second to import

        mono = librosa.resample(mono, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    return np.asarray(np.clip(np.rint(mono * 32_768), -32_768, 32_767), np.int16)
