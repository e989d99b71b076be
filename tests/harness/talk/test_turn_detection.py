"""The end of a person's speech: detected in a room's noise, none in noise alone, and marked as an estimate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.model.records import Pcm16
from turngap.talk.turn_detection import estimate_speech


def room(ms: int, dbfs: float, seed: int = 1) -> Pcm16:
    noise = np.random.default_rng(seed).standard_normal(ms * 8) * 32_768 * 10 ** (dbfs / 20)
    return np.clip(np.rint(noise), -32_768, 32_767).astype(np.int16)


def speech(before_ms: int, ms: int, after_ms: int, room_dbfs: float) -> Pcm16:
    pcm = room(before_ms + ms + after_ms, room_dbfs).astype(np.int32)
    pcm[before_ms * 8 : (before_ms + ms) * 8] += np.rint(6000 * np.sin(np.arange(ms * 8) / 3)).astype(np.int32)
    return np.clip(pcm, -32_768, 32_767).astype(np.int16)


@pytest.mark.parametrize("room_dbfs", [-70, -60, -50, -42])
def test_speech_is_detected_in_the_noise_of_a_room(room_dbfs: float) -> None:
    """Begin and end within 20 ms, in a quiet room and in a loud one."""
    label = estimate_speech(speech(400, 900, 600, room_dbfs))
    assert label is not None
    assert abs(label.start_sample - 400 * 8) <= 160
    assert abs(label.end_sample - 1300 * 8) <= 160
    assert label.high_ms <= 0 <= label.low_ms


@pytest.mark.parametrize("odd", range(0, 80, 13))
def test_begin_and_end_do_not_depend_on_where_the_frames_lie(odd: int) -> None:
    """To half a millisecond in a quiet room, wherever in a 10 ms frame the person starts and stops."""
    pcm = np.concatenate([room(1, -70)[:1].repeat(odd), speech(400, 900, 600, -70)]).astype(np.int16)
    label = estimate_speech(pcm)
    assert label is not None
    assert abs(label.start_sample - odd - 400 * 8) <= 4
    assert abs(label.end_sample - odd - 1300 * 8) <= 4


@given(st.integers(0, 2**32 - 1), st.floats(-90, -62), st.integers(0, 3000))
@settings(max_examples=50, deadline=None)
def test_a_quiet_room_is_no_speech(seed: int, dbfs: float, ms: int) -> None:
    """Noise under -55 dBFS is none, however long."""
    assert estimate_speech(room(ms, dbfs, seed)) is None


def test_a_click_is_no_speech_and_does_not_move_its_end() -> None:
    """One loud frame after the speech, a mouse perhaps, is passed over."""
    pcm = speech(400, 900, 600, -60)
    pcm[1600 * 8 : 1600 * 8 + 80] = 12_000
    label = estimate_speech(pcm)
    assert label is not None
    assert abs(label.end_sample - 1300 * 8) <= 160
    alone = room(1000, -60)
    alone[4000:4080] = 12_000
    assert estimate_speech(alone) is None


@given(st.integers(0, 2**32 - 1), st.integers(0, 2000), st.floats(-90, 0))
@settings(max_examples=100, deadline=None)
def test_speech_is_inside_the_audio(seed: int, ms: int, dbfs: float) -> None:
    """Whatever the audio."""
    pcm = room(ms, dbfs, seed)
    label = estimate_speech(pcm)
    assert label is None or 0 <= label.start_sample < label.end_sample <= len(pcm)
