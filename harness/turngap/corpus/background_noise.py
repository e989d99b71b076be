"""Noise that callers have behind them, as loops: pink, babble, music, a bad line; seeded, synthesised but for babble.

Each is a float array of shape (samples,) with an RMS of 1, and can be repeated without a seam: what is placed near the
end goes on at the beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from turngap_agent.telephony import SAMPLE_RATE

from turngap.corpus.concatenation import normalise
from turngap.corpus.labels import label
from turngap.model.records import Pcm16

Loop = npt.NDArray[np.float64]
BABBLE_VOICES = 8
VOICE_PITCH = (0.82, 1.22)
"""One recorded speaker becomes several by being played slower or faster."""
PINK_FROM_HZ = 50.0
"""Under this pink noise is level: a telephone carries nothing there."""
_CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))
_BEAT_S = 0.25
_HARMONICS = (1.0, 0.5, 0.3, 0.15, 0.08)


def loop(kind: str, samples: int, seed: str, voices: Callable[[], Sequence[Pcm16]]) -> Loop:
    """A noise by name (pink, babble, music, line), shape (samples,); `voices` gives the speech for babble."""
    rng = np.random.default_rng(list(seed.encode()))
    if kind == "babble":
        return babble(samples, rng, voices())
    return {"pink": pink, "music": music, "line": line}[kind](samples, rng)


def pink(samples: int, rng: np.random.Generator) -> Loop:
    """Noise whose power falls by 3 dB an octave."""
    frequencies = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    spectrum = rng.standard_normal(len(frequencies)) + 1j * rng.standard_normal(len(frequencies))
    spectrum /= np.sqrt(np.maximum(frequencies, PINK_FROM_HZ))
    spectrum[0] = 0
    return _unit(np.fft.irfft(spectrum, samples))


def babble(samples: int, rng: np.random.Generator, voices: Sequence[Pcm16]) -> Loop:
    """Eight voices at once, each saying one of `voices` after the other, at a pitch of its own."""
    sum_ = np.zeros(samples)
    spoken = [_speech(pcm) for pcm in voices]
    for _ in range(BABBLE_VOICES):
        rate, at, filled = rng.uniform(*VOICE_PITCH), int(rng.integers(samples)), 0
        while filled < samples:
            said = spoken[int(rng.integers(len(spoken)))]
            said = np.interp(np.arange(0, len(said) - 1, rate), np.arange(len(said)), said)[: samples - filled]
            sum_[(at + filled + np.arange(len(said))) % samples] += said
            filled += len(said)
    return _unit(sum_)


def music(samples: int, rng: np.random.Generator) -> Loop:
    """Music on hold: four chords in a row, plucked note by note, over a bass."""
    sum_ = np.zeros(samples)
    root_hz = 196.0 * 2 ** (int(rng.integers(-4, 5)) / 12)
    for beat in range(max(1, int(samples / SAMPLE_RATE / _BEAT_S))):
        chord = _CHORDS[beat // 8 % len(_CHORDS)]
        notes = [(chord[int(rng.integers(3))] + 12 * int(rng.integers(0, 2)), 0.35)]
        if beat % 4 == 0:
            notes.append((chord[0] - 12, 0.6))
        for semitones, seconds in notes:
            note = _pluck(root_hz * 2 ** (semitones / 12), seconds)
            sum_[(int(beat * _BEAT_S * SAMPLE_RATE) + np.arange(len(note))) % samples] += note
    return _unit(sum_)


def line(samples: int, rng: np.random.Generator) -> Loop:
    """A bad line: mains hum with its overtones under a hiss."""
    cycles = np.arange(samples) / samples
    hum = sum(
        (
            level * np.sin(2 * np.pi * (round(hz * samples / SAMPLE_RATE) * cycles + rng.uniform()))
            for hz, level in _HUM
        ),
        np.zeros(samples),
    )
    return _unit(_unit(hum) + 0.7 * rng.standard_normal(samples))


_HUM = ((50, 0.5), (100, 1.0), (150, 0.6), (250, 0.4), (350, 0.2))


def _speech(pcm: Pcm16) -> Loop:
    levelled = normalise(pcm)
    found = label(levelled)
    said: Loop = (levelled if found is None else levelled[found.start_sample : found.end_sample]).astype(np.float64)
    return said


def _pluck(hz: float, seconds: float) -> Loop:
    t = np.arange(int(seconds * 3 * SAMPLE_RATE)) / SAMPLE_RATE
    tones = (level * np.sin(2 * np.pi * hz * (n + 1) * t) for n, level in enumerate(_HARMONICS) if hz * (n + 1) < 3400)
    plucked: Loop = sum(tones, np.zeros(len(t))) * np.exp(-t / seconds) * np.minimum(1, t / 0.005)
    return plucked


def _unit(noise: Loop) -> Loop:
    level = np.sqrt(np.mean(np.square(noise)))
    return noise / level if level > 0 else noise
