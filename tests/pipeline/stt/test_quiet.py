"""The quiet and the silence behind an utterance: levels, lengths and places, on made-up states."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.stt.quiet import QUIET_S, SilentStates, with_quiet_after
from turngap_agent.telephony import SAMPLE_RATE

QUIET = round(QUIET_S * SAMPLE_RATE)


@given(st.integers(0, 4000))
def test_the_utterance_itself_is_unchanged(length: int) -> None:
    """Whatever its length, its samples come first, then so much quiet."""
    audio = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
    longer = with_quiet_after(audio)
    assert len(longer) == length + QUIET
    assert np.array_equal(longer[:length], audio)


def test_the_quiet_begins_at_the_lines_level_and_fades() -> None:
    """Its first tenth is as loud as the noise at the end, its last tenth is nearly nothing."""
    noise = np.random.default_rng(1).normal(0, 0.01, SAMPLE_RATE).astype(np.float32)
    quiet = with_quiet_after(noise)[len(noise) :]
    assert np.std(quiet[: QUIET // 10]) == pytest.approx(0.01, rel=0.2)
    assert np.std(quiet[-QUIET // 10 :]) < 0.001


def test_a_sound_at_the_very_end_does_not_go_on() -> None:
    """The level is that of the quietest of the last parts, not of a word that was cut."""
    audio = np.concatenate([np.full(384, 1e-4), np.random.default_rng(2).normal(0, 0.3, 128)]).astype(np.float32)
    assert np.std(with_quiet_after(audio)[len(audio) :]) < 1e-3


def test_digital_silence_stays_silent() -> None:
    """No noise is put where the line had none."""
    assert not with_quiet_after(np.zeros(1000, np.float32)).any()


@given(st.integers(1, 1500), st.floats(0, 40))
def test_silence_stands_at_its_own_place(positions: int, seconds: float) -> None:
    """Behind n states of speech come the silence's states from the nth on, as far as the window reaches."""
    silence = -np.arange(1500, dtype=np.float32).reshape(1, 1500, 1)
    speech = np.ones((1, positions, 1), np.float32)
    states = SilentStates(silence).behind(speech, seconds)
    ended = min(1500, positions + round(50 * seconds))
    assert np.array_equal(states[:, :positions], speech)
    assert np.array_equal(states[:, positions:], silence[:, positions:ended])
