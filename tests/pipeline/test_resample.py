"""Resampling: the filter's pass and stop bands, its alignment, and one result for every way of cutting the stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from turngap_agent.resample import AudioF32, Downsampler, Pcm16, to_16k

RATES = [8_000, 16_000, 22_050, 24_000, 48_000]


def tone(hertz: float, rate: int, seconds: float = 0.5) -> AudioF32:
    at = np.arange(round(rate * seconds)) / rate
    return np.asarray(0.5 * np.sin(2 * np.pi * hertz * at), np.float32)


def whole(audio: AudioF32, rate: int) -> Pcm16:
    downsampler = Downsampler(rate)
    return np.concatenate([downsampler.push(audio), downsampler.flush()])


def gain_db(hertz: float, rate: int) -> float:
    inner = whole(tone(hertz, rate), rate)[200:-200] / 32_767
    return float(20 * np.log10(max(float(inner.std()), 1e-6) / (0.5 / np.sqrt(2))))


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 48_000])
@pytest.mark.parametrize("hertz", [100, 300, 1000, 2000, 3000, 3400])
def test_the_telephone_band_passes(hertz: float, rate: int) -> None:
    """Up to 3.4 kHz the level changes by less than 1 dB."""
    assert abs(gain_db(hertz, rate)) < 1


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 48_000])
@pytest.mark.parametrize("hertz", [5000, 6000, 7000])
def test_what_would_alias_is_stopped(hertz: float, rate: int) -> None:
    """What the line cannot carry is at least 40 dB down."""
    assert gain_db(hertz, rate) < -40


@pytest.mark.parametrize("rate", RATES)
def test_output_is_aligned_with_its_input(rate: int) -> None:
    """Linear phase, and no shift: sample m of the output is the input at m/8000 s."""
    out = whole(tone(440, rate), rate)
    np.testing.assert_allclose(out[50:-50] / 32_767, tone(440, 8_000)[50:-50], atol=0.003)


@pytest.mark.parametrize("rate", RATES)
def test_no_more_is_held_back_than_stated(rate: int) -> None:
    """At most 2 ms wait for what follows, and `delay_ms` says how much."""
    downsampler = Downsampler(rate)
    given_ms = len(downsampler.push(tone(440, rate, 0.1))) / 8
    assert downsampler.delay_ms <= 2
    assert 100 - given_ms == pytest.approx(downsampler.delay_ms, abs=0.126)


@settings(max_examples=60)
@given(st.sampled_from(RATES), st.lists(st.integers(0, 1500), max_size=10), st.integers(0, 2**32 - 1))
def test_the_stream_is_the_whole(rate: int, lengths: list[int], seed: int) -> None:
    """However it is cut, the pieces join to exactly the output of one push, of the input's duration rounded up."""
    audio = np.asarray(np.random.default_rng(seed).uniform(-1.1, 1.1, sum(lengths)), np.float32)
    downsampler, at, pieces = Downsampler(rate), 0, []
    for length in lengths:
        pieces.append(downsampler.push(audio[at : at + length]))
        at += length
    pieces.append(downsampler.flush())
    expected = whole(audio, rate)
    np.testing.assert_array_equal(np.concatenate(pieces), expected)
    assert len(expected) == -(-len(audio) * 8_000 // rate)


def test_flushing_begins_a_new_stream() -> None:
    """After a flush the next stream is not touched by the one before."""
    downsampler = Downsampler(24_000)
    first = np.concatenate([downsampler.push(tone(440, 24_000)), downsampler.flush()])
    second = np.concatenate([downsampler.push(tone(440, 24_000)), downsampler.flush()])
    np.testing.assert_array_equal(first, second)


def test_too_loud_is_clipped() -> None:
    """Beyond full scale the output saturates and never wraps."""
    assert whole(np.full(2400, 3.0, np.float32), 24_000).min() >= 0


def test_a_rate_below_the_telephones_is_refused() -> None:
    """There is nothing to take away."""
    with pytest.raises(ValueError, match="below"):
        Downsampler(4_000)


def test_an_utterance_doubles_its_rate() -> None:
    """8 kHz becomes 16 kHz: twice the samples, the same sound."""
    up = to_16k(tone(440, 8_000))
    np.testing.assert_allclose(up[200:-200], tone(440, 16_000)[200:-200], atol=0.005)
    assert up.dtype == np.float32


def test_the_filter_up_is_the_one_that_scipy_would_design() -> None:
    """It is designed once, not for each utterance; the samples are the same, to the last bit."""
    audio = np.asarray(np.random.default_rng(0).normal(0, 0.1, 801), np.float32)
    np.testing.assert_array_equal(to_16k(audio), np.asarray(signal.resample_poly(audio, 2, 1), np.float32))
