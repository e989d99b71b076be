"""Agents that began too soon: how much was heard, how soon they were silent, what was lost, and the answer after."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.model.landing import Landing
from turngap.model.records import CallRecord
from turngap.model.turn import Outcome, TurnRecord
from turngap.scoring.score import score_call
from turngap_agent.tracing import Span

from tests.harness.builders import Call, attempt_spans, call_span, planned_as, speech

FIRST, REST = "please call me back", "tomorrow morning"
WORDS = f"{FIRST} {REST}"
"""The caller speaks from 600 to 1,200 ms, pauses, and goes on from 1,600 to 2,200 ms."""


def paused(words: str | None = WORDS) -> Call:
    return Call().utter(600, 2200, words=words, pauses_ms=[(1200, 1600)])


def too_soon(call: Call, *, from_ms: float = 1500, silent_ms: float = 1700) -> Call:
    """The agent begins in the pause, and empties the caller's buffer at `silent_ms`."""
    return call.hear(from_ms, speech(silent_ms - from_ms + 100)).clear(silent_ms)


def spans(*answers: tuple[int, int, float, str | None]) -> tuple[Span, ...]:
    """Attempts that were heard: (turn, attempt, sent at, transcript)."""
    made = [
        attempt_spans(
            turn=turn,
            attempt=attempt,
            provisional_ms=sent_ms - 200,
            confirmed_ms=sent_ms - 1,
            sent_ms=sent_ms,
            stages={},
            transcript=transcript,
        )
        for turn, attempt, sent_ms, transcript in answers
    ]
    return (call_span(len(answers)), *(span for attempt in made for span in attempt))


def last(record: CallRecord, sent: tuple[Span, ...] = ()) -> TurnRecord:
    plan = planned_as("respond", expect=WORDS)
    return score_call(record, sent, plan, network_ms=95, cold=False)[-1]


def landing(record: CallRecord, sent: tuple[Span, ...] = ()) -> Landing:
    """The landing of the only turn, which is a cut-off without a gap whatever its landing."""
    turn = last(record, sent)
    assert (turn.outcome, turn.turn_gap_ms, turn.is_good) == (Outcome.CUT_OFF, None, False)
    assert turn.landing is not None
    return turn.landing


@given(heard=st.integers(20, 90), late=st.integers(1, 45))
def test_a_soft_landing(heard: int, late: int) -> None:
    """Heard from its start to the `clear`, silent after the caller's next sound, no word lost, the whole answered."""
    from_ms, silent_ms = 1600 - 10 * heard // 3, 1600 + 10 * late
    call = too_soon(paused(), from_ms=from_ms, silent_ms=silent_ms).hear(2650, speech(600)).mark(2660).ends(6000)
    found = landing(call, spans((0, 1, from_ms - 1, FIRST), (0, 2, 2649, WORDS)))
    assert found.heard_ms == pytest.approx(silent_ms - from_ms, abs=10)
    assert found.gave_way_ms == pytest.approx(10 * late, abs=10)
    assert found.gap_ms == pytest.approx(450, abs=0.5)
    assert (found.starts, found.lost_words, found.answered_whole, found.soft) == (1, 0, True, True)


def test_an_agent_that_talks_on_did_not_land() -> None:
    """It is audible to the end of its reply, and its words are those of the first part."""
    call = paused().hear(1500, speech(2500)).mark(1510).ends(9000)
    found = landing(call, spans((0, 1, 1499, FIRST)))
    assert found.gave_way_ms == pytest.approx(2400, abs=10)
    assert (found.gap_ms, found.lost_words, found.answered_whole, found.soft) == (None, 2, False, False)


def test_the_rest_as_a_turn_of_its_own_loses_no_word_and_answers_half() -> None:
    """Two transcripts contain the words; the answer is to the second alone."""
    call = too_soon(paused()).hear(2650, speech(600)).mark(2660).ends(6000)
    found = landing(call, spans((0, 1, 1499, FIRST), (1, 1, 2649, REST)))
    assert (found.lost_words, found.answered_whole, found.soft) == (0, False, False)


def test_a_rest_that_was_taken_for_a_backchannel_is_lost() -> None:
    """The old reply goes on after the caller's last words."""
    call = too_soon(paused()).hear(2500, speech(900)).mark(2510).ends(6000)
    found = landing(call, spans((0, 1, 1499, FIRST)))
    assert found.gap_ms == pytest.approx(300, abs=0.5)
    assert (found.lost_words, found.answered_whole, found.soft) == (2, False, False)


def test_words_between_two_attempts_are_lost() -> None:
    """Whoever hears only what came after the reply lacks the words under it."""
    call = too_soon(paused()).hear(2650, speech(600)).mark(2660).ends(6000)
    found = landing(call, spans((0, 1, 1499, FIRST), (0, 2, 2649, "please call me back morning")))
    assert (found.lost_words, found.answered_whole, found.soft) == (1, False, False)


def test_without_spans_the_audio_says_all_but_the_words() -> None:
    """Soft or not is then not known; an agent that was not silent in time did not land softly in any case."""
    found = landing(too_soon(paused()).hear(2650, speech(600)).mark(2660).ends(6000))
    assert (found.lost_words, found.answered_whole, found.soft) == (None, None, None)
    assert found.heard_ms == pytest.approx(200, abs=10)
    assert found.gap_ms == pytest.approx(450, abs=0.5)
    loud = landing(paused().hear(1500, speech(1100)).hear(3000, speech(600)).mark(3010).ends(6000))
    assert loud.gave_way_ms == pytest.approx(1000, abs=10)
    assert (loud.lost_words, loud.answered_whole, loud.soft) == (None, None, False)


def test_a_lost_span_leaves_the_words_open() -> None:
    """The transcript of the attempt that was lost may have had them."""
    call = too_soon(paused()).hear(2650, speech(600)).mark(2660).ends(6000)
    found = landing(call, spans((0, 1, 1499, FIRST), (0, 2, 2649, WORDS))[:2])
    assert (found.lost_words, found.answered_whole, found.soft) == (None, None, None)


def test_a_reply_that_ended_in_the_pause_gave_way_at_once() -> None:
    """A short one was silent before the caller went on."""
    call = paused().hear(1400, speech(150)).mark(1410).hear(2650, speech(600)).mark(2660).ends(6000)
    assert landing(call, spans((0, 1, 1399, FIRST), (0, 2, 2649, WORDS))).gave_way_ms == 0


def test_two_starts_in_two_pauses() -> None:
    """What was heard adds up; the slower silence counts."""
    call = Call().utter(600, 3200, words=WORDS, pauses_ms=[(1200, 1600), (2200, 2600)])
    call = too_soon(too_soon(call), from_ms=2500, silent_ms=2650).hear(3700, speech(600)).mark(3710)
    found = landing(call.ends(7000), spans((0, 1, 1499, FIRST), (0, 2, 2499, FIRST), (0, 3, 3699, WORDS)))
    assert (found.starts, found.lost_words, found.soft) == (2, 0, True)
    assert found.heard_ms == pytest.approx(350, abs=20)
    assert found.gave_way_ms == pytest.approx(100, abs=10)


def test_an_utterance_without_a_pause() -> None:
    """An agent that begins in the middle of speech is heard beside the caller from its first sound on."""
    call = Call().utter(600, 2200, words=WORDS).hear(1500, speech(400)).clear(1800).hear(2650, speech(600)).mark(2660)
    found = landing(call.ends(6000), spans((0, 1, 1499, FIRST), (0, 2, 2649, WORDS)))
    assert found.gave_way_ms == found.heard_ms == pytest.approx(300, abs=10)


def test_an_answered_turn_has_no_landing() -> None:
    """Only a cut-off has one."""
    turn = last(paused().hear(2650, speech(600)).mark(2660).ends(6000), spans((0, 1, 2649, WORDS)))
    assert (turn.outcome, turn.landing) == (Outcome.ANSWERED, None)


def test_no_words_to_compare() -> None:
    """Of a recording without a transcript nothing is said about words."""
    call = too_soon(paused(words=None)).hear(2650, speech(600)).mark(2660).ends(6000)
    plan = planned_as("respond").turns[0]
    assert plan.expect is None
    turn = score_call(
        call, spans((0, 1, 1499, FIRST), (0, 2, 2649, WORDS)), planned_as("respond"), network_ms=95, cold=False
    )[-1]
    assert turn.landing is not None
    assert (turn.landing.lost_words, turn.landing.soft) == (None, None)
