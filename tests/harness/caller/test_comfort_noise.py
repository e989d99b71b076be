"""Comfort noise: its level, and that it is the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller import comfort_noise
from turngap.caller.comfort_noise import MADE_AT_ONCE, NoiseLoop, make_comfort_noise


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


def test_a_loop_is_the_same_noise_made_a_few_frames_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample for sample, and from its end on from its start; in order or not."""
    drawn: list[int] = []
    draw = comfort_noise._draw
    monkeypatch.setattr(comfort_noise, "_draw", lambda rng, n, dbfs: (drawn.append(n), draw(rng, n, dbfs))[1])
    loop = NoiseLoop(10, "seed", -50)
    frames = [loop.read_frame(frame) for frame in range(23)]
    assert max(drawn) == MADE_AT_ONCE * 160
    whole = make_comfort_noise(1600, "seed", -50)
    assert np.array_equal(np.concatenate(frames), np.resize(whole, 23 * 160))
    assert np.array_equal(NoiseLoop(10, "seed", -50).read_frame(9), whole[-160:])
