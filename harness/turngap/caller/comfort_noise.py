"""Comfort noise: what a telephone line carries while nobody speaks, so that an agent never gets digital silence."""

from __future__ import annotations

import numpy as np
from turngap_agent.telephony import FRAME_SAMPLES

from turngap.model.records import Pcm16

COMFORT_DBFS = -60.0
MADE_AT_ONCE = 10
"""Frames: eight seconds of noise at the start of a call would stop the event loop, and every other call, for 3 ms."""


def make_comfort_noise(samples: int, seed: int | str, level_dbfs: float = COMFORT_DBFS) -> Pcm16:
    """Return white noise of that RMS level, shape (samples,), 8 kHz; the same seed returns the same noise."""
    return _draw(_seed_generator(seed), samples, level_dbfs)


class NoiseLoop:
    """Comfort noise of some seconds, over and over; it is made a few frames ahead of where it is read."""

    def __init__(self, frames: int, seed: int | str, level_dbfs: float = COMFORT_DBFS) -> None:
        """The loop is `make_comfort_noise(frames * 160, seed, level_dbfs)`."""
        self._generator = _seed_generator(seed)
        self._level_dbfs = level_dbfs
        self._pcm = np.zeros(frames * FRAME_SAMPLES, np.int16)
        self._made = 0

    def read_frame(self, frame: int) -> Pcm16:
        """Return frame number `frame` of the line, from 0; shape (160,)."""
        return self.read_frames(frame, 1)

    def read_frames(self, frame: int, count: int) -> Pcm16:
        """Return `count` frames of the line, from number `frame` on; shape (160 * count,)."""
        at = frame * FRAME_SAMPLES % len(self._pcm)
        beyond = min(len(self._pcm), at + count * FRAME_SAMPLES)
        while self._made < beyond:
            made = min(len(self._pcm), self._made + MADE_AT_ONCE * FRAME_SAMPLES)
            self._pcm[self._made : made] = _draw(self._generator, made - self._made, self._level_dbfs)
            self._made = made
        left = count - (beyond - at) // FRAME_SAMPLES
        first = self._pcm[at:beyond]
        return np.concatenate([first, self.read_frames(frame + count - left, left)]) if left else first


def _seed_generator(seed: int | str) -> np.random.Generator:
    return np.random.default_rng([seed] if isinstance(seed, int) else list(seed.encode()))


def _draw(generator: np.random.Generator, samples: int, level_dbfs: float) -> Pcm16:
    noise = generator.standard_normal(samples) * (32_768 * 10 ** (level_dbfs / 20))
    return np.clip(np.rint(noise), -32_768, 32_767).astype(np.int16)
