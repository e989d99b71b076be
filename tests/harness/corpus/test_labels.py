"""End-of-speech labels: on bursts whose end is known, at any level, and how firm they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from turngap.corpus.labels import FLOOR_DBFS, label_speech, speech_threshold_dbfs
from turngap.model.records import Pcm16

SEEDS = st.integers(0, 2**32 - 1)


def speech(samples: int, seed: int, dbfs: float = -18.0) -> Pcm16:
    """Noise with a syllable's rhythm: loud vowels, weaker consonants, no pauses."""
    rng = np.random.default_rng(seed)
    rhythm = 0.55 + 0.45 * np.sin(np.arange(samples) / 8000 * 2 * np.pi * 4 + rng.uniform(0, 6))
    return scale_to(rng.standard_normal(samples) * rhythm * 32_768 * 10 ** (dbfs / 20))


def scale_to(pcm: np.ndarray[tuple[int, ...], np.dtype[np.float64]] | Pcm16, gain_db: float = 0.0) -> Pcm16:
    return np.clip(np.rint(np.asarray(pcm, np.float64) * 10 ** (gain_db / 20)), -32_768, 32_767).astype(np.int16)


def surround(head: int, body: Pcm16, tail: int) -> Pcm16:
    return np.concatenate([np.zeros(head, np.int16), body, np.zeros(tail, np.int16)])


@given(SEEDS, st.integers(0, 5000), st.integers(2000, 12_000), st.integers(0, 5000))
def test_the_label_is_the_known_end(seed: int, head: int, body: int, tail: int) -> None:
    """A burst that stops dead: the label is its last sample, wherever in a 10 ms frame that lies.

    Up to a millisecond less where the noise itself happens to end under the threshold.
    """
    label = label_speech(surround(head, speech(body, seed), tail))
    assert label is not None
    end = head + body
    assert end - 8 <= label.end_sample <= end
    assert head <= label.start_sample <= head + 8
    assert label.is_firm


@given(SEEDS, st.integers(0, 79), st.integers(400, 4000))
def test_the_label_does_not_depend_on_the_frames(seed: int, shift: int, tail: int) -> None:
    """Audio that starts earlier by part of a frame has a label that is later by exactly that: a decay's too."""
    decay = scale_to(speech(2000, seed + 1) * 10 ** (-np.arange(2000) / 400))
    pcm = np.concatenate([np.zeros(800, np.int16), speech(4000, seed), decay, np.zeros(tail, np.int16)])
    one, two = label_speech(pcm), label_speech(np.concatenate([np.zeros(shift, np.int16), pcm]))
    assert one is not None
    assert two is not None
    assert abs(two.start_sample - one.start_sample - shift) <= 8
    # Where the frames lie moves the threshold by tenths of a dB, and with it the end of a decay.
    assert one.end_sample + 8 * one.high_ms - 8 <= two.end_sample - shift <= one.end_sample + 8 * one.low_ms + 8


@given(SEEDS, st.floats(0, 12), st.integers(0, 3000))
def test_level_does_not_move_the_label_of_loud_speech(seed: int, attenuation_db: float, tail: int) -> None:
    """While p95 - 35 dB decides, turning the clip down moves nothing, though its decay is gradual."""
    body = speech(8000, seed, dbfs=-8)
    decay = scale_to(speech(3000, seed + 1, dbfs=-8) * 10 ** (-np.arange(3000) / 600))
    loud = surround(400, np.concatenate([body, decay]), tail)
    quiet = scale_to(loud, -attenuation_db)
    assume(speech_threshold_dbfs(quiet) > FLOOR_DBFS + 0.5)
    one, two = label_speech(loud), label_speech(quiet)
    assert one is not None
    assert two is not None
    assert abs(one.end_sample - two.end_sample) <= 80


@given(SEEDS, st.floats(1, 20))
def test_under_the_floor_a_quieter_clip_never_ends_later(seed: int, attenuation_db: float) -> None:
    """Where -55 dBFS decides, what sinks under it is silence on the line: the end moves earlier or stays."""
    decay = scale_to(speech(6000, seed, dbfs=-22) * 10 ** (-np.arange(6000) / 3000))
    one, two = label_speech(decay), label_speech(scale_to(decay, -attenuation_db))
    assume(two is not None)
    assert one is not None
    assert two is not None
    assert two.end_sample <= one.end_sample + 80


@given(SEEDS, st.integers(0, 4000))
def test_silence_around_the_speech_does_not_count(seed: int, tail: int) -> None:
    """The same speech with more silence after it has the same end, but for samples at the very threshold.

    Silence lowers the 95th percentile of the levels a little, and with it the threshold.
    """
    body = speech(8000, seed)
    one, two = label_speech(surround(0, body, 0)), label_speech(surround(0, body, tail))
    assert one is not None
    assert two is not None
    assert one.end_sample <= two.end_sample <= one.end_sample + 8


@given(SEEDS, st.integers(100, 4000))
def test_lower_thresholds_end_later_and_higher_ones_earlier(seed: int, slope: int) -> None:
    """The two moves have their signs, whatever the decay; a clip is stable when both are within 30 ms."""
    decay = scale_to(speech(8000, seed + 1) * 10 ** (-np.arange(8000) / slope))
    label = label_speech(np.concatenate([speech(4000, seed), decay]))
    assert label is not None
    assert label.low_ms >= 0 >= label.high_ms
    assert label.is_firm == (label.low_ms <= 30 and label.high_ms >= -30)


def test_a_slow_fade_is_not_stable() -> None:
    """A voice that fades over a second has no end that two thresholds would agree on."""
    fade = scale_to(speech(12_000, 1) * 10 ** (-np.arange(12_000) / 4000))
    label = label_speech(np.concatenate([speech(4000, 2), fade]))
    assert label is not None
    assert not label.is_firm


@pytest.mark.parametrize("pcm", [np.zeros(0, np.int16), np.zeros(8000, np.int16), scale_to(speech(8000, 1), -50)])
def test_silence_has_no_label(pcm: Pcm16) -> None:
    """Nothing, digital silence, and noise under the floor are no speech."""
    assert label_speech(pcm) is None
