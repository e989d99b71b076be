"""Noise behind the caller: its kind, its loop, and the requested ratio; it moves no end of speech."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.caller.onset import levels_dbfs
from turngap.corpus import background_noise, non_speech
from turngap.corpus.audio_sources import SourceAudio
from turngap.corpus.background_noise import measure_snr_db, mix_noise
from turngap.corpus.clips import make_clip
from turngap.model.records import Clip

from tests.harness.corpus.test_concatenation import word

KINDS = ("pink", "babble", "music", "line")
N = 80_000


def make(kind: str, samples: int, seed: str = "s") -> background_noise.Loop:
    return background_noise.make_loop(kind, samples, seed, lambda: [word(4000, 1), word(6000, 2), word(3000, 3)])


def clip(samples: int = 12_000, seed: int = 1) -> Clip:
    made = make_clip("c", [SourceAudio(word(samples, seed), "word", "test", synthetic=False)])
    assert isinstance(made, Clip)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_has_a_level_of_one_and_is_seeded(kind: str) -> None:
    """RMS 1, the same for the same seed, another for another."""
    one, same, other = make(kind, N), make(kind, N), make(kind, N, "other")
    assert one.shape == (N,)
    assert abs(np.sqrt(np.mean(one**2)) - 1) < 1e-9
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_has_no_seam(kind: str) -> None:
    """The step from its last sample to its first is no larger than its steps are elsewhere."""
    loop = make(kind, N)
    assert abs(loop[0] - loop[-1]) <= np.abs(np.diff(loop)).max()


def test_pink_noise_falls_by_three_db_an_octave() -> None:
    """Within a dB, from 125 Hz to 4 kHz."""
    power = np.abs(np.fft.rfft(make("pink", N))) ** 2
    hz = np.fft.rfftfreq(N, 1 / 8000)
    octaves = [np.mean(power[(hz >= low) & (hz < 2 * low)]) for low in (125, 250, 500, 1000, 2000)]
    assert np.abs(np.diff(10 * np.log10(octaves)) + 3.01).max() < 1


def test_babble_is_many_voices() -> None:
    """It never pauses where one of its voices does."""
    babble = make("babble", N)
    assert levels_dbfs((babble * 3000).astype(np.int16)).min() > -50


@given(st.sampled_from(KINDS), st.floats(-5, 30), st.integers(4000, 30_000), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_ratio_is_the_requested_one(kind: str, snr_db: float, samples: int, seed: int) -> None:
    """Measured on what is sent, over the active frames of the speech: within 0.1 dB; nothing is clipped."""
    clean = clip(samples, seed)
    noisy = mix_noise(clean, snr_db, partial(make, kind, seed=str(seed)))
    assert noisy.bed is not None
    noise = noisy.bed[: len(noisy.pcm)].astype(float)
    speech = noisy.pcm - noise
    start = clean.speech_start_sample
    assert abs(measure_snr_db(speech[start:], noise[start:]) - snr_db) < 0.1
    assert np.abs(noisy.pcm.astype(int)).max() <= 29_206


@given(st.sampled_from(KINDS), st.floats(-5, 30))
@settings(max_examples=20, deadline=None)
def test_noise_moves_no_label(kind: str, snr_db: float) -> None:
    """The clip is as long as the clean one, and everything that is known of it is the same."""
    clean = clip()
    noisy = mix_noise(clean, snr_db, partial(make, kind))
    assert len(noisy.pcm) == len(clean.pcm)
    for name in ("speech_start_sample", "transcript", "label_low_ms", "label_high_ms", "pauses"):
        assert getattr(noisy, name) == getattr(clean, name)


def test_noise_alone_is_as_loud_as_under_a_normal_voice() -> None:
    """10 dB under speech at -20 dBFS; the clip holds the beginning of the loop."""
    noisy = mix_noise(non_speech.make_silence("s", 3000), 10, partial(make, "pink"), speech=False)
    assert noisy.bed is not None
    level = 20 * np.log10(np.sqrt(np.mean(noisy.bed.astype(float) ** 2)) / 32_768)
    assert abs(level + 30) < 0.1
    assert np.array_equal(noisy.pcm, noisy.bed[: len(noisy.pcm)])


def test_a_long_clip_has_a_loop_of_its_length() -> None:
    """The voice has noise behind it to its end."""
    long = mix_noise(non_speech.make_silence("s", 15_000), 10, partial(make, "music"), speech=False)
    assert long.bed is not None
    assert len(long.bed) == len(long.pcm) == 120_000
