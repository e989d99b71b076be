"""Stretches of speech over a noise floor: where they begin and end, however loud the floor and long the tail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.corpus.speech_stretches import find_speech_by_bands
from turngap.model.records import Pcm16

from tests.harness.corpus.test_labels import scale_to, speech

SEEDS = st.integers(0, 2**32 - 1)
RATES = st.sampled_from([8000, 16_000, 44_100])
SLACK_MS = 35.0
"""A frame, and half of the window of 25 ms before and after which a level is smoothed."""


def make_noise(samples: int, seed: int, dbfs: float) -> Pcm16:
    return scale_to(np.random.default_rng(seed).standard_normal(samples) * 32_768 * 10 ** (dbfs / 20))


def with_floor(pcm: Pcm16, seed: int, dbfs: float) -> Pcm16:
    return scale_to(pcm.astype(np.float64) + make_noise(len(pcm), seed, dbfs))


@given(SEEDS, st.floats(-80, -32), st.integers(200, 2000), st.integers(150, 2000), st.integers(600, 3000))
@settings(max_examples=60, deadline=None)
def test_edges_of_speech_in_noise_are_found(seed: int, floor: float, head_ms: int, tail_ms: int, body_ms: int) -> None:
    """Whatever the level of a steady floor down to 12 dB under the speech, and however long it lasts after it."""
    silence = [np.zeros(ms * 8, np.int16) for ms in (head_ms, tail_ms)]
    pcm = with_floor(np.concatenate([silence[0], speech(body_ms * 8, seed), silence[1]]), seed + 1, floor)
    stretches = find_speech_by_bands(pcm)
    assert len(stretches) == 1
    # The rhythm's valley may lie at an edge, 20 dB under its peak: at a loud floor nothing of it is audible.
    early = SLACK_MS if floor < -50 else SLACK_MS + 80
    assert -SLACK_MS <= stretches[0].start_sample / 8 - head_ms <= early
    assert -early <= stretches[0].end_sample / 8 - head_ms - body_ms <= SLACK_MS


@given(SEEDS, st.lists(st.tuples(st.integers(300, 1500), st.integers(300, 1500)), min_size=2, max_size=4))
@settings(max_examples=25, deadline=None)
def test_pauses_separate_stretches(seed: int, parts: list[tuple[int, int]]) -> None:
    """Each stretch of speech with 300 ms and more of noise after it is one of its own."""
    pieces, expected, at = [np.zeros(4000, np.int16)], [], 4000
    for index, (speech_ms, pause_ms) in enumerate(parts):
        pieces += [speech(speech_ms * 8, seed + index), np.zeros(pause_ms * 8, np.int16)]
        expected.append((at / 8, at / 8 + speech_ms))
        at += (speech_ms + pause_ms) * 8
    found = find_speech_by_bands(with_floor(np.concatenate(pieces), seed, -55))
    assert len(found) == len(expected)
    for stretch, (start_ms, end_ms) in zip(found, expected, strict=True):
        assert abs(stretch.start_sample / 8 - start_ms) <= SLACK_MS + 20
        assert abs(stretch.end_sample / 8 - end_ms) <= SLACK_MS + 20


@given(SEEDS, st.floats(-90, -20))
@settings(max_examples=20, deadline=None)
def test_noise_alone_is_no_speech(seed: int, dbfs: float) -> None:
    """However loud it is."""
    assert find_speech_by_bands(make_noise(24_000, seed, dbfs)) == ()


@given(SEEDS, RATES)
@settings(max_examples=15, deadline=None)
def test_the_rate_is_that_of_the_samples(seed: int, rate: int) -> None:
    """Edges are samples of the audio as it is given; int16 and floats of full scale 1 give the same."""
    head, body, tail = rate // 2, rate, rate // 2
    pcm = with_floor(np.concatenate([np.zeros(head), speech(body, seed), np.zeros(tail)]), seed, -60)
    (stretch,) = find_speech_by_bands(pcm, rate)
    assert abs(stretch.start_sample - head) / rate * 1000 <= SLACK_MS
    assert abs(stretch.end_sample - head - body) / rate * 1000 <= 130  # the rhythm's valley, at 44.1 kHz a long one
    assert find_speech_by_bands(pcm / 32_768, rate) == (stretch,)


def test_a_final_fricative_counts() -> None:
    """An "s" has its energy over 4 kHz only, 10 dB under the floor of the whole: it is speech all the same."""
    rate, rng = 16_000, np.random.default_rng(3)
    spectrum = np.fft.rfft(rng.standard_normal(3200))
    spectrum[np.fft.rfftfreq(3200, 1 / rate) < 5000] = 0
    hiss = np.fft.irfft(spectrum, 3200)
    hum = np.sin(2 * np.pi * 150 * np.arange(rate * 2 + 3200) / rate) * 1000
    voiced = speech(rate, 5).astype(np.float64)
    voice = np.concatenate([np.zeros(rate // 2), voiced, hiss / hiss.std() * 220, np.zeros(rate // 2)])
    (stretch,) = find_speech_by_bands(scale_to(voice + hum + rng.standard_normal(len(voice)) * 30), rate)
    assert abs(stretch.end_sample / 16 - 1700) <= SLACK_MS


@pytest.mark.parametrize("samples", [0, 1, 79, 80, 800])
def test_audio_too_short_for_speech_has_none(samples: int) -> None:
    """Neither an error nor a stretch."""
    assert find_speech_by_bands(speech(samples, 1)) == ()
