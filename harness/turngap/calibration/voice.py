"""A synthetic voice whose first and last samples are known: it starts and stops at full level, between two samples.

The reference agent replies with it and the calibration's caller speaks with it. It is loud like speech (pitch pulses
through three resonances, breath, a syllable's rhythm without pauses), so that onset and label meet what they meet in
calls; only its edges are sharper than a person's, since the truth has to be a sample.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from turngap_agent.telephony import SAMPLE_RATE

from turngap.model.records import Pcm16

LEVEL_DBFS = (-26.0, -14.0)
PITCH_HZ = (90.0, 240.0)
HIGHEST_HZ = 3400.0
SYLLABLES_HZ = 4.0
RHYTHM_DEPTH = 0.35
"""The rhythm swings by this share of the level, so that no part is a pause."""
BREATH_DB = -20.0
_RESONANCES_HZ = ((300.0, 800.0, 90.0), (900.0, 2200.0, 130.0), (2300.0, 3000.0, 180.0))
"""Of each resonance the range of its frequency, and its width."""


def make_voice(samples: int, seed: int, level_dbfs: float | None = None) -> Pcm16:
    """Return a voice of its own pitch, vowel and level (or `level_dbfs`) for each seed; shape (samples,), 8 kHz."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / SAMPLE_RATE
    pitch_hz = rng.uniform(*PITCH_HZ)
    turns = pitch_hz * (t + rng.uniform(-0.2, 0.2) * t**2)
    harmonics = np.arange(1, int(HIGHEST_HZ / pitch_hz) + 1)
    peaks = [(rng.uniform(low, high), width) for low, high, width in _RESONANCES_HZ]
    gains = sum((1 / (1 + ((harmonics * pitch_hz - hz) / width) ** 2) for hz, width in peaks), np.zeros(len(harmonics)))
    phases = rng.uniform(0, 2 * np.pi, len(harmonics))
    voiced = (gains[:, None] * np.cos(2 * np.pi * harmonics[:, None] * turns + phases[:, None])).sum(axis=0)
    breath = rng.standard_normal(samples) * _rms(voiced) * 10 ** (BREATH_DB / 20)
    rhythm = 1 + RHYTHM_DEPTH * np.cos(2 * np.pi * (SYLLABLES_HZ * t + rng.uniform()))
    sound = (voiced + breath) * rhythm
    level = rng.uniform(*LEVEL_DBFS) if level_dbfs is None else level_dbfs
    sound *= 32_768 * 10 ** (level / 20) / _rms(sound)
    pcm: Pcm16 = np.clip(np.rint(sound), -32_767, 32_767).astype(np.int16)
    return pcm


def _rms(sound: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(sound)))) if len(sound) else 1.0
