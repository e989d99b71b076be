"""Milestones from audio: t0 and its frame, t1 on the played timeline, earlier talk, the reply, lateness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.clock import NS_PER_MS
from turngap.model.records import CallRecord
from turngap.scoring.milestones import Milestones, find_milestones
from turngap.scoring.turn_facts import measure_lateness

from tests.harness.builders import Call, ns, quiet, tone


def only(record: CallRecord) -> Milestones:
    """The milestones of a call's one utterance."""
    (moments,) = find_milestones(record)
    return moments


def after_t0(moments: Milestones, t0_ms: float = 1600) -> float | None:
    """t1 in ms after t0."""
    return None if moments.t1_ns is None else (moments.t1_ns - ns(t0_ms)) / NS_PER_MS


@settings(deadline=None)
@given(st.integers(1, 40_000))
def test_the_frame_that_holds_t0(end_sample: int) -> None:
    """t0 is its sample's own time; its frame is complete 0 to under 20 ms later, and was sent on its deadline."""
    moments = only(Call().utter(0, end_sample / 8).ends(6000))
    assert moments.t0_ns == ns(end_sample / 8)
    assert 0 <= moments.frame_due_ns - moments.t0_ns < 20 * NS_PER_MS
    assert moments.frame_due_ns == ns((moments.frame + 1) * 20) == moments.frame_sent_ns


def test_a_frame_that_was_never_sent() -> None:
    """A call that ended in mid-utterance never sent t0's frame."""
    assert only(Call().utter(600, 1600).ends(1580)).frame_sent_ns is None


@pytest.mark.parametrize("head_ms", [0, 10, 150, 13, 25, 0.125, 9.5, 19.875])
def test_silence_at_the_head_is_no_answer(head_ms: float) -> None:
    """t1 is the first sample of the sound, wherever in a 10 ms frame of the message it begins."""
    call = Call().utter(600, 1600).hear(2000, quiet(head_ms), tone(300)).ends(4000)
    assert after_t0(only(call)) == 400 + head_ms


def test_the_grid_begins_with_the_played_piece() -> None:
    """Off the stream's grid by an odd time, t1 is exactly the time the first message came."""
    assert after_t0(only(Call().utter(600, 1600).hear(2003.377, tone(300)).ends(4000))) == pytest.approx(403.377)


@pytest.mark.parametrize("click_ms", [10, 20, 30])
def test_a_click_is_no_answer(click_ms: float) -> None:
    """The first audible frame needs 30 ms more within the next 60 ms; a click alone never has them."""
    record = Call().utter(600, 1600).hear(2000, tone(click_ms), quiet(200), tone(300)).ends(4000)
    assert after_t0(only(record)) == 400 + click_ms + 200


def test_sound_split_over_messages_is_one_sound() -> None:
    """Messages of 20 ms that play without a hole give the same t1 as one message."""
    sound = np.concatenate([quiet(45), tone(400)])
    whole, split = Call().utter(600, 1600), Call().utter(600, 1600)
    whole.hear(2000, sound)
    split.hear_paced(2000, sound, lead_ms=15)
    assert after_t0(only(whole.ends(4000))) == after_t0(only(split.ends(4000))) == 445


def test_a_hole_then_sound() -> None:
    """10 ms of sound and a stall are no answer: t1 is where sound resumes; 20 ms with 30 ms close behind are one."""
    stalled = Call().utter(600, 1600).hear(2000, tone(10)).hear(2200, tone(300)).ends(4000)
    jittery = Call().utter(600, 1600).hear(2000, tone(20)).hear(2040, tone(300)).ends(4000)
    assert (after_t0(only(stalled)), after_t0(only(jittery))) == (600, 400)


def test_quiet_sound_is_not_audible() -> None:
    """Sound under -45 dBFS (here -53) is no answer."""
    assert only(Call().utter(600, 1600).hear(2000, tone(300, amplitude=100)).ends(4000)).t1_ns is None


def test_first_byte_is_the_first_message_silent_or_not() -> None:
    """The first byte's time is when it was received, whatever it holds and whenever it plays."""
    moments = only(Call().utter(600, 1600).hear(1900, quiet(300)).hear(1950, tone(300)).ends(4000))
    assert moments.first_recv_ns == ns(1900)
    assert after_t0(moments) == 600


def test_first_byte_is_of_this_turn() -> None:
    """Neither what is still being sent of earlier talk nor the next turn's reply is this turn's first byte."""
    talks_on = Call().utter(600, 1600).hear_paced(2000, tone(4000), lead_ms=15).utter(3000, 5000)
    assert find_milestones(talks_on.ends(7000))[1].first_recv_ns is None
    silent = Call().utter(600, 1600, answer_within_ms=900).utter(3000, 4000).hear(4300, tone(300))
    assert [moments.first_recv_ns for moments in find_milestones(silent.ends(6000))] == [None, ns(4300)]


def test_an_answer_to_the_next_utterance_is_not_this_turns() -> None:
    """Although this turn's time was not up, the caller had spoken again: the onset is the next turn's."""
    record = Call().utter(600, 1600).utter(2500, 3500).hear(3900, tone(300)).ends(6000)
    first, second = find_milestones(record)
    assert (first.onset_ns, after_t0(second, 3500)) == (None, 400)


def test_an_answer_after_waiting_ended_is_none() -> None:
    """An onset at or after the deadline, or after the next utterance's own talk began, is not this turn's."""
    record = Call().utter(600, 1600, answer_within_ms=400).hear(2000, tone(300)).ends(4000)
    assert only(record).onset_ns is None
    in_time = Call().utter(600, 1600, answer_within_ms=400).hear(1999, tone(300)).ends(4000)
    assert after_t0(only(in_time)) == 399


def test_cut_off_is_sound_before_t0() -> None:
    """Sound that began before t0, even 1 ms, is a cut-off and no reply; at t0 it is a reply."""
    early = only(Call().utter(600, 1600).hear(1599, tone(300)).ends(4000))
    assert (early.cut_off_ns, early.t1_ns, early.reply) == (NS_PER_MS, None, None)
    exact = only(Call().utter(600, 1600).hear(1600, tone(300)).ends(4000))
    assert (exact.cut_off_ns, after_t0(exact)) == (None, 0)


def test_silence_before_t0_is_no_cut_off() -> None:
    """A message that arrives before t0 and is audible only after it is a reply with a silent head."""
    moments = only(Call().utter(600, 1600).hear(1500, quiet(250), tone(300)).ends(4000))
    assert (moments.cut_off_ns, after_t0(moments)) == (None, 150)


def two_utterances() -> Call:
    """A reply that began at 2,000 and plays until 4,000 while the caller speaks again from 3,000 to 5,000."""
    return Call().utter(600, 1600).hear(2000, tone(2000)).utter(3000, 5000)


def test_the_tail_of_an_earlier_reply_is_no_cut_off() -> None:
    """What was received before the utterance began plays on into it: earlier talk, cleared or not."""
    for call in (two_utterances(), two_utterances().clear(3400)):
        first, second = find_milestones(call.hear(5400, tone(300)).ends(7000))
        assert after_t0(first) == 400
        assert (second.cut_off_ns, after_t0(second, 5000)) == (None, 400)


def test_a_tail_that_is_still_being_sent_is_no_cut_off() -> None:
    """A paced reply continues for a while after the caller barges in: one stretch of sound until it is cleared."""
    call = Call().utter(600, 1600).hear_paced(2000, tone(1700), lead_ms=15).utter(3000, 5000).clear(3690)
    _, second = find_milestones(call.hear(5400, tone(300)).ends(7000))
    assert (second.cut_off_ns, after_t0(second, 5000)) == (None, 400)


def test_talk_that_begins_inside_the_utterance_is_a_cut_off() -> None:
    """After a `clear`, or after a pause of 200 ms, new sound before t0 is a cut-off although there was a tail."""
    cleared = two_utterances().clear(3400).hear(3410, tone(300)).ends(7000)
    paused = Call().utter(600, 1600).hear(2000, tone(1400)).utter(3000, 5000).hear(3600, tone(300)).ends(7000)
    assert [moments.cut_off_ns for moments in find_milestones(cleared)] == [None, 1590 * NS_PER_MS]
    assert [moments.cut_off_ns for moments in find_milestones(paused)] == [None, 1400 * NS_PER_MS]


def test_talk_before_an_agent_can_notice_is_earlier_talk() -> None:
    """What is sent within 300 ms of the caller's first sound is not about it; 300 ms after it, it is."""
    late_greeting = only(Call().utter(600, 1600).hear(899, tone(300)).hear(2000, tone(300)).ends(4000))
    cut_in = only(Call().utter(600, 1600).hear(900, tone(300)).ends(4000))
    assert (late_greeting.cut_off_ns, after_t0(late_greeting)) == (None, 400)
    assert cut_in.cut_off_ns == 700 * NS_PER_MS


def test_a_short_utterance_can_be_answered_at_once() -> None:
    """The time to notice never reaches past t0: 100 ms of speech answered 50 ms later has a gap of 50 ms."""
    assert after_t0(only(Call().utter(600, 700).hear(750, tone(300)).ends(4000)), 700) == 50


def test_an_agent_that_talks_on_has_not_answered() -> None:
    """Sound that continues from before the utterance past t0 without a pause is no reply, and no gap of 0."""
    call = Call().utter(600, 1600).hear_paced(2000, tone(4000), lead_ms=15).utter(3000, 5000)
    _, second = find_milestones(call.ends(7000))
    assert (second.onset_ns, second.cut_off_ns) == (None, None)


def test_a_greeting_is_not_a_reply() -> None:
    """Sound before the first utterance is neither an answer nor a cut-off."""
    moments = only(Call().hear(100, tone(400)).utter(1000, 1600).hear(2000, tone(300)).ends(4000))
    assert (moments.cut_off_ns, after_t0(moments)) == (None, 400)


def test_the_reply_from_first_to_last_audible_sample() -> None:
    """Silence at both ends is left out; silences over 200 ms inside are added up, shorter ones are speech."""
    sound = (quiet(20), tone(300), quiet(200), tone(100), quiet(250), tone(100), quiet(400))
    reply = only(Call().utter(600, 1600).hear(2000, *sound).ends(6000)).reply
    assert reply is not None
    assert (reply.start_ns, reply.end_ns) == (ns(2020), ns(2970))
    assert reply.silence_ns == 250 * NS_PER_MS
    assert reply.longest_silence_ns == 250 * NS_PER_MS
    assert reply.underruns == ()


def test_a_gap_between_clauses_may_be_dry_or_silent_and_short() -> None:
    """The longest counts, until the caller speaks again: what an agent holds back then is no gap of its own."""
    call = Call().utter(600, 1600).hear(2000, tone(300), quiet(90), tone(100)).hear(2610, tone(700), quiet(100))
    reply = only(call.ends(6000)).reply
    assert reply is not None
    assert reply.longest_silence_ns == 120 * NS_PER_MS
    over = call.utter(3200, 3500, over=True).hear(3700, tone(300)).ends(6000)
    assert [one.reply.longest_silence_ns for one in find_milestones(over)[:1] if one.reply] == [120 * NS_PER_MS]


@pytest.mark.parametrize(("speaks_ms", "longest_ms", "summed_ms"), [(2450, 150, 0), (2550, 250, 250), (3100, 600, 600)])
def test_a_gap_ends_when_the_caller_speaks_up(speaks_ms: int, longest_ms: int, summed_ms: int) -> None:
    """Silent from 2,300 to 2,900: what is left of it when the caller begins is the agent holding back."""
    call = Call().utter(600, 1600).hear(2000, tone(300), quiet(600), tone(100))
    first, _ = find_milestones(call.utter(speaks_ms, speaks_ms + 400, over=True).ends(6000))
    assert first.reply is not None
    assert first.reply.end_ns == ns(3000)
    assert first.reply.longest_silence_ns == longest_ms * NS_PER_MS
    assert first.reply.silence_ns == summed_ms * NS_PER_MS


def test_underruns_are_the_dry_times_inside() -> None:
    """Each time between the last buffered sample and the next message counts; before t1 and after the end none do."""
    call = Call().utter(600, 1600).hear(1900, quiet(20)).hear(2000, tone(300))
    call.hear(2340, tone(100)).hear(2500, tone(100)).hear(2900, quiet(100))
    reply = only(call.ends(6000)).reply
    assert reply is not None
    assert [(hole.end_ns - hole.start_ns) / NS_PER_MS for hole in reply.underruns] == [40, 60]


def test_a_reply_ends_where_the_next_utterance_has_its_own_talk() -> None:
    """The next turn's answer is not part of this reply, and the time between them no underrun."""
    call = Call().utter(600, 1600).hear(2000, tone(300)).utter(3000, 4000).hear(4300, tone(300))
    first, second = (moments.reply for moments in find_milestones(call.ends(6000)))
    assert first is not None
    assert second is not None
    assert (first.end_ns, first.underruns) == (ns(2300), ())
    assert (second.start_ns, second.end_ns) == (ns(4300), ns(4600))


def test_a_barged_in_reply_ends_with_what_was_played() -> None:
    """Of a reply that was cleared only the played part counts."""
    first, _ = (moments.reply for moments in find_milestones(two_utterances().clear(3400).ends(5500)))
    assert first is not None
    assert first.end_ns == ns(3400)


@pytest.mark.parametrize(
    ("frame", "counts"),
    [
        (52, False),  # due 1,060, sent 1,089: over before 1,100
        (53, True),  # due 1,080, sent 1,109
        (79, True),  # t0's own
        (98, True),  # due 1,980
        (100, False),  # due 2,020, after t1 at 2,000
    ],
)
def test_send_lateness_counts_from_500_ms_before_t0_to_t1(frame: int, counts: bool) -> None:
    """A late frame counts when any of its lateness is in the window."""
    record = Call().utter(600, 1600).late(frame, 29).hear(2000, tone(300)).ends(4000)
    late = measure_lateness(record, *only(record).window_ns)
    assert (late.send_ns, late.recv_ns) == (29 * NS_PER_MS if counts else 0, 0)


@pytest.mark.parametrize(("back_at_ms", "counts"), [(1099, False), (1101, True), (2003, True), (2010, False)])
def test_receive_lateness_counts_in_the_same_window(back_at_ms: float, counts: bool) -> None:
    """An absence of our event loop counts when any of it is between 500 ms before t0 and t1."""
    record = Call().utter(600, 1600).stall(back_at_ms, 7).hear(2000, tone(300)).ends(4000)
    late = measure_lateness(record, *only(record).window_ns)
    assert (late.send_ns, late.recv_ns) == (0, 7 * NS_PER_MS if counts else 0)


def test_the_window_of_a_turn_without_t1() -> None:
    """With a cut-off it begins 500 ms before the onset and ends at t0; with no answer it ends when waiting did."""
    cut = only(Call().utter(600, 2600).hear(1700, tone(300)).ends(4000))
    missed = only(Call().utter(600, 1600, answer_within_ms=2000).ends(4000))
    assert cut.window_ns == (ns(1200), ns(2600))
    assert missed.window_ns == (ns(1100), ns(3600))
