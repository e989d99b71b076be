"""A sentence that continues after an interruption: what was lost or repeated is measured to within a frame."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from turngap.model.records import Pcm16
from turngap.scoring.continuation import LostAndRepeated, count_audible_samples, find_lost_and_repeated, find_piece

from tests.harness.builders import quiet, speech

FRAME = 80
SENTENCE = speech(3000)
NOTHING = quiet(0)


def at(ms: int) -> int:
    return ms * 8


@given(stopped=st.integers(300, 1500), sent=st.integers(200, 1200), lead=st.integers(0, 400))
def test_a_sentence_that_resumes_where_it_stopped_lost_nothing(stopped: int, sent: int, lead: int) -> None:
    """Whatever had been heard, whatever had been sent ahead, and however long the silence before it."""
    cut = SENTENCE[at(stopped) : at(stopped + sent)]
    resumed = np.concatenate([quiet(lead), SENTENCE[at(stopped) :]])
    fit = find_lost_and_repeated(SENTENCE[: at(stopped)], cut, resumed)
    assert fit.lost_samples <= FRAME
    assert fit.repeated_samples <= FRAME


@given(stopped=st.integers(600, 1500), back=st.integers(1, 600))
def test_repeated_speech_is_measured(stopped: int, back: int) -> None:
    """A sentence that begins again further back has repeated what is between, to within 10 ms."""
    resumed = SENTENCE[at(stopped - back) :]
    fit = find_lost_and_repeated(SENTENCE[: at(stopped)], SENTENCE[at(stopped) : at(stopped + 300)], resumed)
    assert fit.lost_samples == 0
    assert abs(fit.repeated_samples - at(back)) <= FRAME


@given(stopped=st.integers(300, 1500), skipped=st.integers(1, 700))
def test_lost_speech_is_measured(stopped: int, skipped: int) -> None:
    """A sentence that continues further ahead has lost what is between, to within 10 ms."""
    cut = SENTENCE[at(stopped) : at(stopped + 1000)]
    fit = find_lost_and_repeated(SENTENCE[: at(stopped)], cut, SENTENCE[at(stopped + skipped) :])
    assert fit.repeated_samples == 0
    assert abs(fit.lost_samples - at(skipped)) <= FRAME


def test_another_sentence_loses_all_that_was_cut() -> None:
    """Speech that was sent, cut and never resumed is lost whole, whatever the agent says instead."""
    assert find_lost_and_repeated(
        SENTENCE[: at(800)], SENTENCE[at(800) : at(1300)], speech(900, seed=2)
    ) == LostAndRepeated(at(500), 0)


def test_a_few_words_before_it_resumes_lose_nothing() -> None:
    """The sentence may be taken up again after something else: it is looked for in all that follows."""
    resumed = np.concatenate([speech(400, seed=2), SENTENCE[at(800) :]])
    assert find_lost_and_repeated(SENTENCE[: at(800)], SENTENCE[at(800) : at(1300)], resumed) == LostAndRepeated(0, 0)


def test_where_nothing_was_cut_nothing_is_lost() -> None:
    """An agent that had sent nothing ahead resumes with sound that was not heard yet."""
    assert find_lost_and_repeated(SENTENCE[: at(800)], NOTHING, SENTENCE[at(900) :]) == LostAndRepeated(0, 0)


def test_silence_that_was_cut_is_no_loss() -> None:
    """Only audible sound counts."""
    assert find_lost_and_repeated(SENTENCE[: at(800)], quiet(500), NOTHING) == LostAndRepeated(0, 0)


def test_it_is_matched_at_another_level_and_with_a_fade() -> None:
    """A reply that fades in again over 20 ms, or is a little softer, is the same sound."""
    resumed = SENTENCE[at(700) :].astype(np.float64) * 0.7
    resumed[: at(20)] *= np.linspace(0, 1, at(20))
    fit = find_lost_and_repeated(SENTENCE[: at(800)], SENTENCE[at(800) : at(1200)], resumed.astype(np.int16))
    assert abs(fit.repeated_samples - at(100)) <= 2 * FRAME


def test_a_sound_that_repeats_itself_is_taken_where_it_fits() -> None:
    """Of equally similar places the one nearest to where playing stopped counts: a tone is no repetition."""
    tone: Pcm16 = (8000 * np.sin(np.arange(16_000) * np.pi / 8 + 0.5)).astype(np.int16)
    assert find_piece(tone, tone[8000:], near=8000) == 8000


def test_silence_is_matched_nowhere() -> None:
    """Nor is too little sound to compare."""
    assert find_piece(SENTENCE, quiet(300), near=0) is None
    assert find_piece(SENTENCE, SENTENCE[:200], near=0) is None


@given(ms=st.integers(0, 200))
def test_audible_samples(ms: int) -> None:
    """Sound counts in whole frames of 10 ms, the last one as long as it is."""
    assert count_audible_samples(np.concatenate([speech(ms), quiet(50)])) in range(at(ms), at(ms) + FRAME)
