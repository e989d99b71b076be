"""Comfort noise: what a telephone line carries while nobody speaks, so that an agent never gets digital silence."""

from __future__ import annotations

import numpy as np

from turngap.model.records import Pcm16

COMFORT_DBFS = -60.0


def make_comfort_noise(samples: int, seed: int | str, level_dbfs: float = COMFORT_DBFS) -> Pcm16:
    """Return white noise of that RMS level, shape (samples,), 8 kHz; the same seed returns the same noise."""
    entropy = [seed] if isinstance(seed, int) else list(seed.encode())
    amplitude = 32_768 * 10 ** (level_dbfs / 20)
    noise = np.random.default_rng(entropy).standard_normal(samples) * amplitude
    return np.clip(np.rint(noise), -32_768, 32_767).astype(np.int16)
