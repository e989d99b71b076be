"""Prompts as callers say them: whole, joined with a pause between two, and with a pause of their own lengthened."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from turngap.caller.comfort_noise import make_comfort_noise
from turngap.caller.onset import LEVEL_FRAME_SAMPLES, levels_dbfs
from turngap.corpus import background_noise, clips
from turngap.corpus.audio_sources import PromptLibrary
from turngap.corpus.labels import speech_threshold_dbfs
from turngap.model.records import Clip, Pcm16
from turngap_agent.telephony import mulaw

from benchmarks.promises import print_progress

PAUSES_MS = (250, 400, 700, 1200)
NOISE_SAMPLES = 160_000
LEAD_MS, TAIL_MS = 256, 2000
OWN_PAUSE_MS = 90
"""The shortest silence inside a prompt that counts as the speaker's own pause."""


@dataclass(frozen=True, slots=True)
class SpeechTrack:
    """The audio of one caller, and its pause."""

    kind: str
    """"end", "joined" or "stretched"."""
    name: str
    """The name of the prompt, or of a pair's first prompt."""
    pcm: Pcm16
    end_sample: int
    """The end of the last speech."""
    pause: tuple[int, int] | None = None
    pause_ms: int = 0

    @property
    def key(self) -> str:
        """Kind and length of the pause."""
        return f"{self.kind} {self.pause_ms}"


def make_tracks(limit: int, seed: int) -> list[SpeechTrack]:
    """Return `limit` prompts, and for each pause length as many joined pairs and lengthened pauses."""
    prompts = PromptLibrary.fetch(print_progress)
    names = prompts.list_names()
    random.Random(seed).shuffle(names)
    sentences = [clip for name in names if (clip := load_sentence(prompts, name)) is not None]
    tracks = [_make_track("end", [clip.pcm], clip.clip_id) for clip in sentences[:limit]]
    paused = [(clip, at) for clip in sentences if (at := _own_pause(clip.pcm)) is not None]
    for pause_ms in PAUSES_MS:
        for first, second in itertools.pairwise(sentences[: limit + 1]):
            spoken = [first.pcm, second.pcm[second.speech_start_sample :]]
            tracks.append(_make_track("joined", spoken, first.clip_id, pause_ms))
        for clip, (start, end) in paused[:limit]:
            if end - start <= pause_ms * 8:
                middle = (start + end) // 2
                spoken = [clip.pcm[:middle], clip.pcm[middle:]]
                tracks.append(_make_track("stretched", spoken, clip.clip_id, pause_ms, (end - start) // 2))
    return tracks


def add_noise(tracks: Sequence[SpeechTrack], noise: str) -> list[SpeechTrack]:
    """Return the tracks with noise behind them, given as `KIND:DB`, a different piece for each."""
    kind, _, snr_db = noise.partition(":")
    loop = background_noise.make_loop(kind, NOISE_SAMPLES, kind, lambda: [track.pcm for track in tracks[:12]])
    noisy = []
    for at, track in enumerate(tracks):
        voice, behind = track.pcm.astype(np.float64), np.resize(np.roll(loop, 7919 * at), len(track.pcm))
        mixed = voice + behind * 10 ** ((background_noise.measure_snr_db(voice, behind) - float(snr_db)) / 20)
        peak = min(1.0, 29_000 / np.abs(mixed).max())
        noisy.append(replace(track, pcm=mulaw.decode(mulaw.encode(np.rint(mixed * peak).astype(np.int16)))))
    return noisy


def load_sentence(prompts: PromptLibrary, name: str) -> Clip | None:
    """Return a prompt if it has three words or more, takes 1 to 8 s and has a certain end; else None."""
    prompt = prompts.read(name)
    if len(clips.clean_transcript(prompt.transcript or "").split()) < 3:
        return None
    clip = clips.make_clip(name, [prompt])
    return clip if isinstance(clip, Clip) and 8_000 <= len(clip.pcm) <= 64_000 else None


def _own_pause(pcm: Pcm16) -> tuple[int, int] | None:
    """Return start and end of the longest silence inside a clip, in samples; None if it is too short."""
    over = np.flatnonzero(levels_dbfs(pcm) > speech_threshold_dbfs(pcm))
    gaps = np.diff(over)
    widest = int(np.argmax(gaps))
    start, end = (int(over[widest]) + 1) * LEVEL_FRAME_SAMPLES, int(over[widest + 1]) * LEVEL_FRAME_SAMPLES
    return (start, end) if end - start >= OWN_PAUSE_MS * 8 else None


def _make_track(kind: str, pieces: list[Pcm16], name: str, pause_ms: int = 0, own_samples: int = 0) -> SpeechTrack:
    """Join pieces with a pause of `pause_ms`, of which `own_samples` at each side are in the pieces already."""
    parts: list[Pcm16] = [make_comfort_noise(LEAD_MS * 8, f"{name}:lead")]
    for index, piece in enumerate(pieces):
        gap = [make_comfort_noise(pause_ms * 8 - 2 * own_samples, f"{name}:gap")] if index else []
        parts += [*gap, piece]
    end = sum(len(part) for part in parts)
    parts.append(make_comfort_noise(TAIL_MS * 8, f"{name}:tail"))
    start = len(parts[0]) + len(pieces[0]) - own_samples
    pause = (start, start + pause_ms * 8) if len(pieces) > 1 else None
    return SpeechTrack(kind, name, mulaw.decode(mulaw.encode(np.concatenate(parts))), end, pause, pause_ms)
