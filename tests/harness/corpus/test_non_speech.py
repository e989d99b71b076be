"""Sounds that are no words: keys that a detector knows, coughs and hums under 400 ms, silence that is a line's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.onset import levels_dbfs
from turngap.corpus import non_speech
from turngap.corpus.clips import make_clip
from turngap.model.records import Clip, Pcm16


def power(pcm: Pcm16, hz: float) -> float:
    """Goertzel's algorithm, as a key detector has it: the amplitude at one frequency."""
    return float(np.abs(np.mean(pcm * np.exp(-2j * np.pi * hz * np.arange(len(pcm)) / 8000))) * 2)


@given(st.text(alphabet=non_speech.KEYS, min_size=1, max_size=8))
def test_tones_are_the_keys_that_were_pressed(digits: str) -> None:
    """In each 100 ms the row and the column of its key are the loudest; between them the line is quiet."""
    clip = non_speech.make_keys("k", digits, as_tones=True)
    assert clip.keys == ()
    assert len(clip.pcm) == (200 * len(digits) - 100) * 8
    for index, digit in enumerate(digits):
        pcm = clip.pcm[index * 1600 : index * 1600 + 800]
        row = max(range(4), key=lambda n: power(pcm, non_speech.ROWS_HZ[n]))
        column = max(range(4), key=lambda n: power(pcm, non_speech.COLUMNS_HZ[n]))
        assert non_speech.KEYS[row * 4 + column] == digit
        rest = clip.pcm[index * 1600 + 800 : index * 1600 + 1600]
        assert levels_dbfs(rest).max(initial=-120) < -55


@given(st.text(alphabet=non_speech.KEYS, min_size=1, max_size=8))
def test_keys_as_messages_leave_the_line_quiet(digits: str) -> None:
    """All are reported, in order, each at the end of its 100 ms."""
    clip = non_speech.make_keys("k", digits, as_tones=False)
    assert "".join(digit for _, digit in clip.keys) == digits
    assert [at for at, _ in clip.keys] == [(200 * n + 100) * 8 - 1 for n in range(len(digits))]
    assert clip.keys[-1][0] == len(clip.pcm) - 1
    assert levels_dbfs(clip.pcm).max() < -55


@pytest.mark.parametrize("name", ["cough", "mm-hm"])
def test_short_sounds_are_short_firm_and_seeded(name: str) -> None:
    """400 ms at most, as the requirement on backchannels has it; their end is known as a word's is."""
    for seed in map(str, range(20)):
        clip = make_clip(name, [non_speech.make_sound(name, seed)])
        assert isinstance(clip, Clip)
        assert 250 <= (len(clip.pcm) - clip.speech_start_sample) / 8 <= 400
        assert max(abs(clip.label_low_ms), abs(clip.label_high_ms)) <= 20
        assert clip.transcript is None
        assert np.array_equal(non_speech.make_sound(name, seed).pcm, non_speech.make_sound(name, seed).pcm)
    assert not np.array_equal(non_speech.make_sound(name, "1").pcm, non_speech.make_sound(name, "2").pcm)


def test_silence_is_a_lines() -> None:
    """Comfort noise, never digital silence, and nothing that could be heard."""
    clip = non_speech.make_silence("s", 2000)
    assert len(clip.pcm) == 16_000
    levels = levels_dbfs(clip.pcm)
    assert -65 < levels.min() <= levels.max() < -55
