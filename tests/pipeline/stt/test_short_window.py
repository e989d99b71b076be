"""The noise and the silence after an utterance, and transcripts that repeat themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.stt.short_window import QUIET_S, SilentStates, append_quiet, repeats_itself
from turngap_agent.telephony import SAMPLE_RATE

QUIET = round(QUIET_S * SAMPLE_RATE)


@given(st.integers(0, 4000))
def test_the_utterance_itself_is_unchanged(length: int) -> None:
    """Whatever its length, its samples are first, then `QUIET_S` of noise."""
    audio = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
    longer = append_quiet(audio)
    assert len(longer) == length + QUIET
    assert np.array_equal(longer[:length], audio)


def test_the_noise_starts_at_the_level_of_the_line_and_fades() -> None:
    """Its first tenth is as loud as the noise before it, its last tenth nearly silent."""
    noise = np.random.default_rng(1).normal(0, 0.01, SAMPLE_RATE).astype(np.float32)
    quiet = append_quiet(noise)[len(noise) :]
    assert np.std(quiet[: QUIET // 10]) == pytest.approx(0.01, rel=0.2)
    assert np.std(quiet[-QUIET // 10 :]) < 0.001


def test_a_sound_at_the_very_end_is_not_continued() -> None:
    """The level is that of the quietest of the last parts, not of a word that was cut."""
    audio = np.concatenate([np.full(384, 1e-4), np.random.default_rng(2).normal(0, 0.3, 128)]).astype(np.float32)
    assert np.std(append_quiet(audio)[len(audio) :]) < 1e-3


def test_digital_silence_stays_silent() -> None:
    """No noise is appended where the line had none."""
    assert not append_quiet(np.zeros(1000, np.float32)).any()


@given(st.integers(1, 1500), st.floats(0, 40))
def test_silence_keeps_its_own_positions(positions: int, seconds: float) -> None:
    """After n states of speech follow those of silence from the nth on, as far as the window reaches."""
    silence = -np.arange(1500, dtype=np.float32).reshape(1, 1500, 1)
    speech = np.ones((1, positions, 1), np.float32)
    states = SilentStates(silence).append_to(speech, seconds)
    end = min(1500, positions + round(50 * seconds))
    assert np.array_equal(states[:, :positions], speech)
    assert np.array_equal(states[:, positions:], silence[:, positions:end])


@pytest.mark.parametrize(
    "text",
    [
        "Please enter your number. Please enter your number.",
        "Thank you for calling us today, thank you for calling us today, thank you",
        "I would like to go to the to the to the",
        "We are open. We are open from nine to five, and we are open from nine to five.",
    ],
)
def test_repeats_are_detected(text: str) -> None:
    """Whole texts, tails and phrases that are repeated."""
    assert repeats_itself(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello?",
        "No, no.",
        "Press one for sales, press two for support, or press zero for the operator.",
        "If you know your party's extension, you may dial it at any time.",
        "I went to the bank and then to the shop.",
    ],
)
def test_ordinary_speech_is_no_repeat(text: str) -> None:
    """Short answers, menus and sentences that use a phrase twice."""
    assert not repeats_itself(text)
