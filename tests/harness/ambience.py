"""What agents play while nobody speaks, for tests: hum, noise, music on hold, breath, comfort noise that switches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from turngap.model.records import Pcm16

RATE = 8000


def scale(sound: npt.NDArray[np.float64], dbfs: float) -> Pcm16:
    """Return the sound at that RMS level, shape (n,)."""
    rms = float(np.sqrt(np.mean(np.square(sound))))
    return np.clip(np.rint(sound * (32_768 * 10 ** (dbfs / 20) / rms)), -32_000, 32_000).astype(np.int16)


def hum(ms: float, dbfs: float, seed: int = 1) -> Pcm16:
    """Return a mains hum with its harmonics, shape (ms * 8,)."""
    at = np.arange(round(ms * 8)) / RATE
    phases = np.random.default_rng(seed).uniform(0, 6.28, 4)
    return scale(sum((np.sin(2 * np.pi * 60 * (k + 1) * at + phases[k]) / (k + 1) for k in range(4)), 0 * at), dbfs)


def noise(ms: float, dbfs: float, seed: int = 1) -> Pcm16:
    """Return noise with the slope of an office, shape (ms * 8,)."""
    white = np.random.default_rng(seed).standard_normal(round(ms * 8) + 8)
    return scale(np.convolve(white, np.ones(8) / 8, "valid")[: round(ms * 8)], dbfs)


def music(ms: float, dbfs: float, seed: int = 1) -> Pcm16:
    """Return chords of plucked tones, a new one every 400 ms, shape (ms * 8,)."""
    rng = np.random.default_rng(seed)
    samples = round(ms * 8)
    sound = np.zeros(samples + 8000)
    for first in range(0, samples, 3200):
        at = np.arange(8000) / RATE
        for _ in range(3):
            hertz = 220 * 2 ** (rng.integers(0, 24) / 12)
            sound[first : first + 8000] += np.sin(2 * np.pi * hertz * at) * np.exp(-3 * at)
    return scale(sound[:samples], dbfs)


def breath(ms: float, dbfs: float, seed: int = 1) -> Pcm16:
    """Return 600 ms of breath in every 2 s, silence between, shape (ms * 8,); the level is that of the breath."""
    sound = np.zeros(round(ms * 8), np.int16)
    swell = np.hanning(4800)
    for number, first in enumerate(range(2400, len(sound), 16_000)):
        one = scale(np.random.default_rng(seed + number).standard_normal(4800) * swell, dbfs)
        sound[first : first + 4800] = one[: len(sound) - first]
    return sound


def switching(ms: float, dbfs: float, seed: int = 1) -> Pcm16:
    """Return comfort noise that is on for 700 ms and off for 500 ms, shape (ms * 8,)."""
    sound = noise(ms, dbfs, seed)
    sound[np.arange(len(sound)) % 9600 >= 5600] = 0
    return sound


AMBIENCES: dict[str, Callable[[float, float, int], Pcm16]] = {
    "hum": hum,
    "noise": noise,
    "music": music,
    "breath": breath,
    "switching": switching,
}
