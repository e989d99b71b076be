"""Callers who speak over the agent, pause, or say nothing: what was heard, in milliseconds, and what it is called."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.model.records import CallRecord
from turngap.model.turn import Outcome, TurnRecord
from turngap.scoring.score import score_call
from turngap_agent.tracing import Span

from tests.harness.builders import WORDS, Call, attempt_spans, call_span, planned_as, quiet, speech, tone

SENTENCE = speech(6000)
"""The agent's first reply: heard from 2,000 ms on."""


def last(record: CallRecord, *agents: str, spans: tuple[Span, ...] = ()) -> TurnRecord:
    """The record of the last turn."""
    return score_call(record, spans, planned_as(*agents), network_ms=95, cold=False)[-1]


def answered() -> Call:
    """The first utterance, t0 at 1,610 ms; its answer starts at 2,000 ms."""
    return Call().utter(600, 1610)


def barge_in(yields_ms: float, *, speaks_ms: float = 3000, ends_ms: float = 4200, lead_ms: float = 200) -> Call:
    """The agent speaks from 2,000 ms, a caller barges in, the buffer is emptied at `yields_ms`."""
    played = SENTENCE[: round((yields_ms - 2000 + lead_ms) * 8)]
    return answered().hear(2000, played).clear(yields_ms).utter(speaks_ms, ends_ms, over=True)


@given(stop=st.integers(0, 990))
def test_the_time_to_stop(stop: int) -> None:
    """From the caller's first sample to the agent's last, to within a frame of 10 ms; the utterance is answered."""
    turn = last(barge_in(3000 + stop).hear(4700, tone(600)).ends(9000), "respond", "stop")
    assert (turn.outcome, turn.over_agent, turn.turn_gap_ms) == (Outcome.ANSWERED, True, 500)
    assert turn.barge_in_stop_ms is not None
    assert turn.talk_over_ms is not None
    assert abs(turn.barge_in_stop_ms - stop) <= 10
    assert abs(turn.talk_over_ms - stop) <= 10
    assert turn.stale_ms == 0


def test_an_agent_that_does_not_yield_talks_over() -> None:
    """1,000 ms after the caller began is too late, whatever else is wrong then; the time is recorded all the same."""
    turn = last(answered().hear(2000, SENTENCE).utter(3000, 4200, over=True).ends(12_000), "respond", "stop")
    assert turn.outcome is Outcome.TALKED_OVER
    assert turn.detail.startswith("the agent did not stop for 5000 ms; no audible answer")
    assert (turn.barge_in_stop_ms, turn.talk_over_ms, turn.turn_gap_ms) == (5000, 1200, None)


@given(first=st.integers(1, 9), stale=st.integers(5, 15))
def test_sound_after_the_clear_is_stale(first: int, stale: int) -> None:
    """What was on its way when the buffer was emptied is heard after the agent had yielded, and is no cut-off."""
    call = barge_in(3300).hear(3300 + 10 * first, SENTENCE[: stale * 160]).hear(4700, tone(600))
    spans = (
        call_span(2),
        *attempt_spans(sent_ms=1999),
        *attempt_spans(turn=1, provisional_ms=4264, confirmed_ms=4300, sent_ms=4699, stages={}),
    )
    turn = last(call.ends(9000), "respond", "stop", spans=spans)
    assert turn.stale_ms == stale * 20
    assert (turn.barge_in_stop_ms, turn.turn_gap_ms) == (300, 500)
    assert turn.outcome is (Outcome.ANSWERED if stale * 20 <= 300 else Outcome.TALKED_OVER)


def test_the_old_reply_taken_up_again_is_no_answer() -> None:
    """An agent whose spans are whole and that began no new reply has resumed the old one."""
    call = barge_in(3300).hear(4700, SENTENCE[: 8 * 2000])
    turn = last(call.ends(12_000), "respond", "stop", spans=(call_span(1), *attempt_spans(sent_ms=1999)))
    assert (turn.outcome, turn.stale_ms, turn.turn_gap_ms) == (Outcome.TALKED_OVER, 2000, None)


def test_a_barge_in_that_came_too_late_is_a_turn_like_any_other() -> None:
    """Where the agent was silent already there is no time to stop; the answer counts."""
    call = answered().hear(2000, tone(500)).utter(3500, 4200).hear(4700, tone(600))
    turn = last(call.ends(9000), "respond", "stop")
    assert (turn.outcome, turn.over_agent, turn.barge_in_stop_ms) == (Outcome.ANSWERED, False, None)


def test_an_answer_in_the_middle_of_the_barge_in_is_a_cut_off() -> None:
    """Yielding first does not give the right to speak before the caller is done."""
    spans = (
        call_span(2),
        *attempt_spans(sent_ms=1999),
        *attempt_spans(turn=1, provisional_ms=3700, confirmed_ms=3750, sent_ms=3799, stages={}),
    )
    turn = last(barge_in(3200).hear(3800, tone(2000)).ends(9000), "respond", "stop", spans=spans)
    assert (turn.outcome, turn.stale_ms, turn.talk_over_ms) == (Outcome.CUT_OFF, 0, 600)


def backchannel(paused_ms: float, *, lead_ms: float = 400) -> Call:
    """The agent speaks from 2,000 ms, "mm-hm" from 3,000 to 3,300 ms, the buffer is emptied at `paused_ms`."""
    sent = SENTENCE[: round((paused_ms - 2000 + lead_ms) * 8)]
    return answered().hear(2000, sent).clear(paused_ms).utter(3000, 3300, over=True)


def test_a_sentence_that_never_pauses_is_held() -> None:
    """Talking on over a backchannel is right, and costs no time."""
    call = answered().hear(2000, SENTENCE).utter(3000, 3300, over=True)
    turn = last(call.ends(11_000), "respond", "ignore")
    assert (turn.outcome, turn.went_on_ms, turn.lost_ms, turn.repeated_ms) == (Outcome.HELD, 0, 0, 0)
    assert (turn.turn_gap_ms, turn.stages, turn.stages_note) == (None, None, "nothing was to be answered")


@given(paused=st.integers(3050, 3400), after=st.integers(220, 700))
def test_a_sentence_that_pauses_and_resumes_is_held(paused: int, after: int) -> None:
    """Sent again from where it was cut, nothing is lost or repeated; the wait counts from the backchannel's end."""
    goes_on = paused + after
    call = backchannel(paused).hear(goes_on, SENTENCE[(paused - 2000) * 8 :])
    turn = last(call.ends(13_000), "respond", "ignore")
    assert turn.outcome is Outcome.HELD
    # The sentence is noise: it is heard from its first sample over the threshold, which may be its second or third.
    assert turn.went_on_ms == pytest.approx(max(0, goes_on - 3300), abs=0.5)
    assert max(turn.lost_ms or 0.0, turn.repeated_ms or 0.0) <= 10


@pytest.mark.parametrize(
    ("moved_ms", "outcome", "detail"),
    [
        (90, Outcome.HELD, ""),
        (150, Outcome.STOPPED, "150 ms of the agent's sentence were lost"),
        (-90, Outcome.HELD, ""),
        (-150, Outcome.STOPPED, "150 ms of the agent's sentence were repeated"),
    ],
)
def test_lost_or_repeated_speech(moved_ms: int, outcome: Outcome, detail: str) -> None:
    """Up to 100 ms is less than a word; more of a sentence that is missing or repeated is a fault."""
    call = backchannel(3200).hear(3900, SENTENCE[(1200 + moved_ms) * 8 :])
    turn = last(call.ends(13_000), "respond", "ignore")
    assert (turn.outcome, turn.detail, turn.went_on_ms) == (outcome, detail, 600)
    assert ((turn.lost_ms or 0.0) - (turn.repeated_ms or 0.0)) == pytest.approx(moved_ms, abs=10)


def test_words_of_an_earlier_reply_are_no_repetition() -> None:
    """An agent may repeat itself in its next answer: speech before the question does not count."""
    call = answered().hear(2000, SENTENCE[: 8 * 2000]).utter(5000, 6000).hear(6500, speech(3000)[8 * 1500 :])
    call.utter(7500, 7800, over=True).hear(8400, SENTENCE[8 * 500 : 8 * 2000])
    turn = last(call.ends(13_000), "respond", "respond", "ignore")
    assert (turn.outcome, turn.went_on_ms, turn.repeated_ms) == (Outcome.HELD, 600, 0)


def test_a_sentence_that_does_not_go_on_was_stopped() -> None:
    """A backchannel is no barge-in."""
    turn = last(backchannel(3200).ends(13_000), "respond", "ignore")
    assert (turn.outcome, turn.detail) == (Outcome.STOPPED, "the agent's sentence did not continue")
    assert (turn.went_on_ms, turn.lost_ms) == (None, 400)


def test_a_sentence_that_ended_by_itself_was_not_stopped() -> None:
    """Nothing was cut, and the agent marked the end: there was nothing to go on with."""
    ending = answered().hear(2000, SENTENCE[: 8 * 1100]).mark(2001).utter(3000, 3300, over=True)
    assert last(ending.ends(9000), "respond", "ignore").outcome is Outcome.HELD
    unmarked = answered().hear(2000, SENTENCE[: 8 * 1100]).utter(3000, 3300, over=True)
    assert last(unmarked.ends(9000), "respond", "ignore").outcome is Outcome.STOPPED


@pytest.mark.parametrize(("interrupted", "outcome"), [(True, Outcome.STOPPED), (False, Outcome.HELD)])
def test_the_agent_says_whether_it_gave_the_sentence_up(interrupted: bool, outcome: Outcome) -> None:
    """Where spans are whole they tell a reply that was done from one that was interrupted, all sent or not."""
    spans = (call_span(1), *attempt_spans(sent_ms=1999, interrupted=interrupted))
    call = answered().hear(2000, SENTENCE[: 8 * 1100]).utter(3000, 3300, over=True)
    assert last(call.ends(9000), "respond", "ignore", spans=spans).outcome is outcome


def test_a_backchannel_that_is_answered() -> None:
    """A new reply instead of the sentence is a stop; one after its end intrudes."""
    reply = attempt_spans(turn=1, provisional_ms=3364, confirmed_ms=3400, sent_ms=3899, stages={})
    spans = (call_span(2), *attempt_spans(sent_ms=1999), *reply)
    turn = last(backchannel(3200).hear(3900, tone(900)).ends(9000), "respond", "ignore", spans=spans)
    assert turn.outcome is Outcome.STOPPED
    assert turn.detail == "the agent's sentence did not continue; the agent answered what it should have ignored"
    whole = answered().hear(2000, SENTENCE[: 8 * 1500]).utter(3000, 3300, over=True).hear(3900, tone(900))
    turn = last(whole.ends(9000), "respond", "ignore", spans=spans)
    assert (turn.outcome, turn.detail) == (Outcome.INTRUDED, "the agent answered what it should have ignored")


def test_a_backchannel_to_a_silent_agent_says_nothing_of_sentences() -> None:
    """There was none to go on with: it was rightly not answered, and no figure of backchannels takes it."""
    turn = last(answered().hear(2000, tone(500)).utter(3500, 3800).ends(9000), "respond", "ignore")
    assert (turn.outcome, turn.over_agent, turn.went_on_ms) == (Outcome.HELD, False, None)
    assert turn.detail == "the agent was not speaking: there was no sentence to continue"
    assert not turn.is_backchannel


def test_a_pause_for_a_backchannel_is_no_underrun_of_the_reply() -> None:
    """What the agent holds back while the caller speaks is not a stall of the answer before."""
    call = backchannel(3200).hear(3350, SENTENCE[1200 * 8 :])
    first, second = score_call(call.ends(13_000), (), planned_as("respond", "ignore"), network_ms=95, cold=False)
    assert (first.outcome, first.underruns_ms) == (Outcome.ANSWERED, ())
    assert second.outcome is Outcome.HELD


def test_silence_is_not_answered() -> None:
    """If nothing is to be answered, the agent is silent until waiting ends; then the turn is held, without a gap."""
    turn = last(Call().utter(600, 1600, None).ends(8000), "wait")
    assert (turn.outcome, turn.detail, turn.turn_gap_ms, turn.t1_ns) == (Outcome.HELD, "", None, None)


@pytest.mark.parametrize("at_ms", [1100, 1600, 5000])
def test_an_agent_that_speaks_into_silence_intrudes(at_ms: float) -> None:
    """While the silence lasts or after it: neither a cut-off nor an answer."""
    turn = last(Call().utter(600, 1600, None).hear(at_ms, tone(900)).ends(8000), "wait")
    assert (turn.outcome, turn.turn_gap_ms, turn.t1_ns) == (Outcome.INTRUDED, None, None)
    assert f"{at_ms - 600:.0f} ms" in turn.detail


def test_a_small_lateness_does_not_spoil_a_silence() -> None:
    """Nothing is timed there; a hole as long as a pause may have changed what the agent did."""
    assert last(Call().utter(600, 1600, None).late(60, 20).ends(8000), "wait").outcome is Outcome.HELD
    assert last(Call().utter(600, 1600, None).late(60, 120).ends(8000), "wait").outcome is Outcome.INVALID


@pytest.mark.parametrize(("at_ms", "why"), [(1500, ", because of a pause"), (2500, "")])
def test_an_agent_that_speaks_into_a_pause_cuts_off(at_ms: float, why: str) -> None:
    """t0 is the end of the whole utterance, so an answer inside it is none, in a pause or out of it."""
    call = Call().utter(600, 3000, pauses_ms=[(1200, 1600)]).hear(at_ms, tone(300))
    turn = last(call.ends(9000), "respond")
    assert (turn.outcome, turn.pause_ms, turn.turn_gap_ms) == (Outcome.CUT_OFF, 400, None)
    assert turn.detail == f"the agent was audible {3000 - at_ms:.0f} ms before the caller had finished{why}"
    # The caller is silent in the pause: sound there is no talk-over, what reaches beyond it is.
    assert turn.talk_over_ms == (200 if why else 300)


def test_an_agent_that_took_a_pause_for_the_end_truncates() -> None:
    """Its answer starts after t0, to the words before the pause: quick, and not good."""
    call = Call().utter(600, 3000, pauses_ms=[(2200, 2600)]).hear(3050, tone(600))
    half = " ".join(WORDS.split()[:3])
    spans = (
        call_span(),
        *attempt_spans(provisional_ms=2264, confirmed_ms=2580, sent_ms=3049, stages={}, transcript=half),
    )
    turn = last(call.ends(9000), "respond", spans=spans)
    assert (turn.outcome, turn.turn_gap_ms) == (Outcome.TRUNCATED, 50)


def test_talk_over_leaves_the_callers_pauses_out() -> None:
    """Only the time counts in which both are audible."""
    call = (
        Call().utter(600, 3000, pauses_ms=[(1200, 1600)]).hear(1300, np.concatenate([tone(400), quiet(100), tone(200)]))
    )
    assert last(call.ends(9000), "respond").talk_over_ms == 300
