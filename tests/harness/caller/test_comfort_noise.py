"""Comfort noise: its level, and that it is the same every time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.comfort_noise import make_comfort_noise


@given(st.integers(0, 2**32 - 1) | st.text(min_size=1, max_size=20), st.floats(-70, -30))
def test_level_is_the_requested_one(seed: int | str, level: float) -> None:
    """RMS within half a dB, rounding to whole numbers included."""
    noise = make_comfort_noise(16_000, seed, level).astype(float)
    assert abs(20 * np.log10(np.sqrt(np.mean(noise**2)) / 32_768) - level) < 0.5


@given(st.integers(0, 2**32 - 1), st.integers(0, 2000))
def test_same_seed_same_noise(seed: int, samples: int) -> None:
    """And another seed, another noise."""
    assert np.array_equal(make_comfort_noise(samples, seed), make_comfort_noise(samples, seed))
    assert not np.array_equal(make_comfort_noise(500, seed), make_comfort_noise(500, seed + 1))
