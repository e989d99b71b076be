"""How far t0 and t1 are from edges that are known: signals of known onset and end, anywhere in a frame.

The product's own `find_onset` and `label_speech` are measured, and for comparison the rule of version 1, which took
whole 10 ms frames. Every signal has a level of -36 to -12 dBFS over a line with noise at -60 dBFS, and has passed
through μ-law. Of a hard edge the truth is the first (or last) sample of the sound; of a soft one, a linear attack or
release of 5 to 60 ms, it is the sample where the envelope's RMS level crosses the threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from turngap.calibration.voice import make_voice
from turngap.caller.onset import AUDIBLE_DBFS, LEVEL_FRAME_SAMPLES, Segment, audible_frames, find_onset, levels_dbfs
from turngap.clock import NS_PER_SAMPLE
from turngap.corpus.audio_sources import PromptLibrary
from turngap.corpus.labels import label_speech, speech_threshold_dbfs
from turngap.model.records import Pcm16
from turngap_agent.errors import WeightsError
from turngap_agent.telephony import mulaw

from benchmarks.promises import Promise, check_at_most, print_progress, print_table

BIAS_MS, SD_MS, SOFT_SD_MS = 0.5, 1.0, 2.0
"""Limits on the error of the gap: |mean|, and the standard deviation of hard edges and of soft ones. A soft edge does
not cross the threshold more sharply: it rises by a few dB a millisecond there, and noise varies by more."""
SOUND_SAMPLES = 2400
"""300 ms."""
PAD_SAMPLES = 1600
"""200 ms of line noise before and after, and up to one frame more."""
LEVELS_DBFS = (-36.0, -12.0)
NOISE_DBFS = -60.0
RAMP_MS = (5.0, 60.0)
Sound = npt.NDArray[np.float64]
MakeSound = Callable[[np.random.Generator], Sound | None]


@dataclass(frozen=True, slots=True)
class Edges:
    """The errors of one kind of sound, ms, shape (n,) each; later is positive."""

    t0: Sound
    t1: Sound
    t0_by_frames: Sound
    """By the rule of version 1, as is ..."""
    t1_by_frames: Sound


def measure_edges(n: int, seed: int = 1) -> tuple[list[Promise], dict[str, Any]]:
    """Measure n signals of each kind; return promises and details."""
    rows: list[Promise] = []
    details: dict[str, Any] = {}
    for name, make, soft in _kinds():
        print_progress(f"edges: {name}")
        sd_ms = SOFT_SD_MS if soft else SD_MS
        edges = _measure_kind(make, soft, n, np.random.default_rng([seed, len(details)]))
        figures = {
            "t1": _describe(edges.t1),
            "t0": _describe(edges.t0),
            "gap": _describe(edges.t1 - edges.t0),
            "t1 by frames": _describe(edges.t1_by_frames),
            "t0 by frames": _describe(edges.t0_by_frames),
            "gap by frames": _describe(edges.t1_by_frames - edges.t0_by_frames),
        }
        details[name] = figures
        rows += [
            check_at_most(f"{name}: |mean error of the gap| <= {BIAS_MS:g} ms", abs(figures["gap"]["mean"]), BIAS_MS),
            check_at_most(f"{name}: its sd <= {sd_ms:g} ms", figures["gap"]["sd"], sd_ms),
        ]
    return rows, details


def print_edges(details: Mapping[str, Any], *, as_json: bool) -> None:
    """Print mean, sd and worst error of each kind, beside those of the rule by frames."""
    columns = ["sound", "t1", "t0", "gap", "t1 by frames", "t0 by frames", "gap by frames"]
    rows = [
        [name, *(f"{one['mean']:+.2f} ± {one['sd']:.2f}, {one['worst']:+.1f}" for one in figures.values())]
        for name, figures in details.items()
    ]
    print_table("Errors at known edges, ms: mean ± sd, worst", columns, rows, as_json=as_json)


def _kinds() -> list[tuple[str, MakeSound, bool]]:
    kinds: list[tuple[str, MakeSound, bool]] = [
        ("tone, hard edges", _make_tone, False),
        ("noise, hard edges", _make_noise, False),
        ("voice, hard edges", _make_voice, False),
    ]
    try:
        library = PromptLibrary.fetch(print_progress)
    except WeightsError as error:
        print_progress(f"recorded prompts are left out: {error}")
    else:
        kinds.append(("recorded prompt, cut inside", _PromptCutter(library), False))
    return [*kinds, ("tone, soft edges", _make_tone, True), ("noise, soft edges", _make_noise, True)]


def _measure_kind(make: MakeSound, soft: bool, n: int, rng: np.random.Generator) -> Edges:
    rows: list[Sequence[float]] = []
    while len(rows) < n:
        sound = make(rng)
        if sound is None:
            continue
        ramp = round(rng.uniform(*RAMP_MS) * 8) if soft else 0
        level = 10 ** (rng.uniform(*LEVELS_DBFS) / 20)
        envelope = np.ones(len(sound))
        if ramp:
            envelope[:ramp] = (np.arange(ramp) + 0.5) / ramp
            envelope[-ramp:] = envelope[:ramp][::-1]
        head, tail = (PAD_SAMPLES + int(rng.integers(LEVEL_FRAME_SAMPLES)) for _ in range(2))
        line = rng.standard_normal(head + len(sound) + tail) * 10 ** (NOISE_DBFS / 20)
        line[head : head + len(sound)] += sound * envelope * level
        pcm = mulaw.decode(mulaw.encode(np.clip(np.rint(line * 32_768), -32_767, 32_767).astype(np.int16)))
        errors = _measure_one(pcm, head, head + len(sound), ramp, level)
        if errors is not None:
            rows.append(errors)
    return Edges(*(np.array(column) / 8 for column in zip(*rows, strict=True)))


def _measure_one(pcm: Pcm16, start: int, end: int, ramp: int, level: float) -> Sequence[float] | None:
    """Return the errors of t0, t1, t0 by frames and t1 by frames, in samples; None if there is no onset at all."""
    segments = [Segment(0, pcm)]
    onset_ns, label = find_onset(segments), label_speech(pcm)
    if onset_ns is None or label is None:
        return None
    threshold = speech_threshold_dbfs(pcm)
    true_t1 = start + ramp * 10 ** (AUDIBLE_DBFS / 20) / level
    true_t0 = end - ramp * 10 ** (threshold / 20) / level
    frame_ns = audible_frames(segments).start_ns
    onset = onset_ns // NS_PER_SAMPLE
    by_frames = next(at for at in frame_ns.tolist() if at + LEVEL_FRAME_SAMPLES * NS_PER_SAMPLE > onset_ns)
    end_by_frames = (int(np.flatnonzero(levels_dbfs(pcm) > threshold)[-1]) + 1) * LEVEL_FRAME_SAMPLES
    return (
        label.end_sample - true_t0,
        onset - true_t1,
        end_by_frames - true_t0,
        by_frames // NS_PER_SAMPLE - true_t1,
    )


def _describe(errors: Sound) -> dict[str, float]:
    worst = float(errors[np.argmax(np.abs(errors))])
    return {"mean": float(errors.mean()), "sd": float(errors.std(ddof=1)), "worst": worst}


def _make_tone(rng: np.random.Generator) -> Sound:
    hz, phase = rng.uniform(150, 3400), rng.uniform(0, 2 * np.pi)
    tone: Sound = np.sqrt(2) * np.sin(2 * np.pi * hz * np.arange(SOUND_SAMPLES) / 8000 + phase)
    return tone


def _make_noise(rng: np.random.Generator) -> Sound:
    return rng.standard_normal(SOUND_SAMPLES)


def _make_voice(rng: np.random.Generator) -> Sound:
    return _to_unit_rms(make_voice(SOUND_SAMPLES, int(rng.integers(2**31))).astype(np.float64))


class _PromptCutter:
    """Cuts 300 to 900 ms out of recorded prompts, where they are loud enough inside the cut to be heard there."""

    CUT_DB = -8.0
    """No 10 ms of the 50 inside each cut are more than this under the piece's own level."""
    CUT_SAMPLES = 400

    def __init__(self, library: PromptLibrary) -> None:
        names = [name for name in library.list_names() if len((library.get_transcript(name) or "").split()) >= 5]
        self._prompts = [library.read(name).pcm.astype(np.float64) for name in names]

    def __call__(self, rng: np.random.Generator) -> Sound | None:
        prompt = self._prompts[int(rng.integers(len(self._prompts)))]
        length = int(rng.integers(SOUND_SAMPLES, 3 * SOUND_SAMPLES))
        if len(prompt) <= length:
            return None
        start = int(rng.integers(len(prompt) - length))
        piece = prompt[start : start + length]
        if not piece.any():
            return None
        piece = _to_unit_rms(piece)
        edges = np.concatenate([piece[: self.CUT_SAMPLES], piece[-self.CUT_SAMPLES :]]).reshape(-1, LEVEL_FRAME_SAMPLES)
        return piece if np.square(edges).mean(axis=1).min() > 10 ** (self.CUT_DB / 10) else None


def _to_unit_rms(sound: Sound) -> Sound:
    unit: Sound = sound / np.sqrt(np.mean(np.square(sound)))
    return unit
