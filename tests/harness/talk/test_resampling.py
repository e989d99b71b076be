"""Sample rates: any pieces give the same stream, a tone stays a tone, and its delay is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.talk.resampling import Resampler

RATES = [(48_000, 8000), (44_100, 8000), (16_000, 8000), (8000, 8000), (8000, 48_000), (8000, 44_100), (11_025, 8000)]


@given(st.sampled_from(RATES), st.lists(st.integers(0, 700), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_pieces_do_not_matter(rates: tuple[int, int], sizes: list[int], seed: int) -> None:
    """Pushed in any pieces, or whole, the samples are the same, and as many as the rates say."""
    audio = np.random.default_rng(seed).uniform(-1, 1, sum(sizes)).astype(np.float32)
    whole = Resampler(*rates).push(audio)
    one = Resampler(*rates)
    pieces = [one.push(piece) for piece in np.split(audio, np.cumsum(sizes)[:-1])]
    joined = np.concatenate(pieces)
    assert joined.shape == whole.shape == (-(-len(audio) * rates[1] // rates[0]),)
    assert np.allclose(joined, whole, atol=1e-6)
    assert (one.samples_in, one.samples_out) == (len(audio), len(whole))


@pytest.mark.parametrize("rates", RATES)
def test_a_tone_keeps_its_level_and_has_the_stated_delay(rates: tuple[int, int]) -> None:
    """1 kHz in, 1 kHz out, shifted by `delay_s`."""
    rate, to_rate = rates
    resampler = Resampler(rate, to_rate)
    given = resampler.push(np.sin(2 * np.pi * 1000 * np.arange(rate // 2) / rate).astype(np.float32))
    at_s = np.arange(len(given)) / to_rate - resampler.delay_s
    expected = np.sin(2 * np.pi * 1000 * at_s)
    middle = slice(to_rate // 20, len(given) - to_rate // 20)
    assert np.abs(given[middle] - expected[middle]).max() < 0.02


def test_what_the_telephone_cannot_carry_is_filtered() -> None:
    """A 6 kHz tone would fold down to 2 kHz; it is gone."""
    given = Resampler(48_000, 8000).push(np.sin(2 * np.pi * 6000 * np.arange(24_000) / 48_000).astype(np.float32))
    assert np.abs(given[400:-400]).max() < 0.01
