"""A call scored: the records of its turns, whole, broken, cold, with and without spans."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from turngap.clock import NS_PER_MS
from turngap.model.records import CallEnd, CallRecord
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import PlannedCall
from turngap.scoring.score import score_call
from turngap_agent.tracing import AGENT_STAGES, Activity, Span, Stage

from tests.harness.builders import (
    EXAMPLE_STAGES,
    WORDS,
    Call,
    attempt_spans,
    call_span,
    example_call,
    ns,
    planned,
    planned_as,
    quiet,
    tone,
)

DEFINITIONS = Path(__file__).parents[3] / "docs" / "definitions.md"
SPANS = (call_span(), *attempt_spans())


def score(
    record: CallRecord, spans: tuple[Span, ...] = (), plan: PlannedCall | None = None, *, cold: bool = False
) -> list[TurnRecord]:
    return score_call(record, spans, plan or planned(), network_ms=95, cold=cold)


def only(record: CallRecord, spans: tuple[Span, ...] = (), plan: PlannedCall | None = None) -> TurnRecord:
    (turn,) = score(record, spans, plan)
    return turn


def transcript_spans(transcript: str | None) -> tuple[Span, ...]:
    return (call_span(), *attempt_spans(transcript=transcript))


def test_the_example_of_the_definitions() -> None:
    """The worked example in docs/definitions.md is what scoring returns."""
    text = DEFINITIONS.read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \|$", text, flags=re.MULTILINE)
    turn = only(example_call().ends(4000), SPANS)
    assert turn.stages is not None
    assert {Stage(name): (float(ran), float(exposed), float(slack)) for name, ran, exposed, slack in rows} == {
        stage: (time.duration_ms, time.exposed_ms, time.slack_ms) for stage, time in turn.stages.items()
    }
    assert (
        f"Turn gap {turn.turn_gap_ms:g} ms; from the frame {turn.turn_gap_frame_ms:g} ms; "
        f"first byte {turn.first_byte_ms:g} ms; perceived, with 95 ms of network, {turn.perceived_gap_ms:g} ms." in text
    )


def test_an_answered_turn() -> None:
    """Everything that is known of a turn is in its record, which survives JSON."""
    turn = only(example_call().ends(4000), SPANS)
    assert (turn.outcome, turn.detail, turn.stages_note) == (Outcome.ANSWERED, "", "")
    assert (turn.t0_ns, turn.t1_ns) == (ns(1610), ns(2025))
    assert (turn.attempt, turn.attempts) == (0, 1)
    assert (turn.reference, turn.transcript, turn.wer, turn.word_errors, turn.words) == (WORDS, WORDS, 0.0, 0, 5)
    assert (turn.reply, turn.first_clause) == ("Of course. Goodbye.", "Of course.")
    assert (turn.underruns_ms, turn.silence_ms, turn.reply_ms) == ((), 0.0, 500.0)
    assert (turn.label_low_ms, turn.label_high_ms, turn.synthetic_caller) == (-3.0, 4.0, True)
    assert (turn.scored, turn.cold, turn.warm_up) == (True, False, False)
    assert [bar.activity for bar in turn.bars] == list(Activity)
    assert TurnRecord.model_validate_json(turn.model_dump_json()) == turn


def test_the_path_has_no_holes() -> None:
    """Its steps go from t0 to t1, each from where the one before ended."""
    turn = only(example_call().ends(4000), SPANS)
    edges = [0.0, *(step.end_ms for step in turn.path)]
    assert [step.start_ms for step in turn.path] == edges[:-1]
    assert edges[-1] == turn.turn_gap_ms


@pytest.mark.parametrize("stage", [*AGENT_STAGES, Stage.TRANSPORT_IN, Stage.TRANSPORT_OUT, Stage.LEAD_IN])
def test_a_delay_appears_in_its_stage(stage: Stage) -> None:
    """100 ms more in any stage on the path, all after it later: that stage's exposed time, and nothing else's."""
    order = list(Stage)

    def after(other: Stage) -> float:
        return 100.0 if order.index(stage) < order.index(other) else 0.0

    def until(other: Stage) -> float:
        return 100.0 if order.index(stage) <= order.index(other) else 0.0

    delayed = attempt_spans(
        provisional_ms=1685 + until(Stage.ENDPOINTING),
        confirmed_ms=1931 + until(Stage.ENDPOINTING),
        sent_ms=2004 + after(Stage.TRANSPORT_OUT),
        arrivals_late_ms=1 + until(Stage.TRANSPORT_IN),
        stages={one: (start + after(one), end + until(one)) for one, (start, end) in EXAMPLE_STAGES.items()},
    )
    head_ms = 20 + (100 if stage is Stage.LEAD_IN else 0)
    call = Call().utter(600, 1610).hear(2005 + until(Stage.TRANSPORT_OUT), quiet(head_ms), tone(500))
    before, turn = only(example_call().ends(4000), SPANS), only(call.ends(4000), (call_span(), *delayed))
    assert before.stages is not None
    assert turn.stages is not None
    expected = {one: time.exposed_ms + (100 if one is stage else 0) for one, time in before.stages.items()}
    assert {one: time.exposed_ms for one, time in turn.stages.items()} == expected


def test_hidden_time_is_what_nobody_waited_for() -> None:
    """Endpointing ran for 310 ms, and the caller waited for 64 of them; the rest ran beside the work."""
    turn = only(example_call().ends(4000), SPANS)
    assert turn.stages is not None
    assert turn.stages[Stage.ENDPOINTING].hidden_ms == 310 - 64
    assert {time.hidden_ms for stage, time in turn.stages.items() if stage is not Stage.ENDPOINTING} == {0}


def test_our_own_late_frame_is_unexplained() -> None:
    """A frame handed over 3 ms late makes no stage longer: what the agent did not do is not laid to it."""
    turn = only(example_call().late(80, 3).ends(4000), (call_span(), *attempt_spans(arrivals_late_ms=4)))
    assert turn.stages is not None
    assert turn.stages[Stage.TRANSPORT_IN].exposed_ms == 1
    assert turn.stages[Stage.UNEXPLAINED].exposed_ms == 4 + 3
    assert turn.stages[Stage.ENDPOINTING].exposed_ms == 64 - 3
    assert (turn.turn_gap_ms, turn.turn_gap_frame_ms) == (415, 402)


def test_an_agent_without_spans() -> None:
    """Gap, outcome and playout need no spans; stages and words are null, with a note."""
    turn = only(example_call().ends(4000))
    assert (turn.outcome, turn.turn_gap_ms, turn.reply_ms) == (Outcome.ANSWERED, 415, 500)
    assert (turn.stages, turn.path, turn.bars) == (None, (), ())
    assert (turn.transcript, turn.wer, turn.attempt, turn.attempts) == (None, None, None, None)
    assert turn.stages_note == "the agent sent no spans for this call"


def test_a_lost_span() -> None:
    """Stages are incomplete, never wrong; the words are still judged."""
    turn = only(example_call().ends(4000), SPANS[:-1])
    assert (turn.stages, turn.stages_note) == (None, "6 of 7 spans of turn 0, attempt 0 arrived")
    assert (turn.outcome, turn.wer) == (Outcome.ANSWERED, 0.0)


@pytest.mark.parametrize(("dry_ms", "outcome"), [(100, Outcome.ANSWERED), (100.125, Outcome.BROKEN)])
def test_broken(dry_ms: float, outcome: Outcome) -> None:
    """Dry for exactly 100 ms is not broken, one sample more is."""
    turn = only(Call().utter(600, 1610).hear(2000, tone(300)).hear(2300 + dry_ms, tone(300)).ends(4000))
    assert (turn.outcome, turn.underruns_ms) == (outcome, (dry_ms,))


def test_dry_times_add_up() -> None:
    """Three times 40 ms are 120 ms that the caller heard nothing; three thirds of 100 ms are exactly 100."""
    call = Call().utter(600, 1610).hear(2000, tone(300)).hear(2340, tone(300)).hear(2680, tone(300))
    assert only(call.hear(3020, tone(300)).ends(4000)).outcome is Outcome.BROKEN
    thirds = Call().utter(600, 1610).hear(2000, tone(300)).hear(2333.333333, tone(300)).hear(2666.666666, tone(300))
    assert only(thirds.hear(3000, tone(300)).ends(4000)).outcome is Outcome.ANSWERED


def test_one_frame_and_a_stall_is_broken() -> None:
    """80 ms of sound and nothing more, seen for longer than a stall may last, is no answer; 100 ms of it is one."""
    assert only(Call().utter(600, 1610).hear(2000, tone(80)).ends(2500)).outcome is Outcome.BROKEN
    assert only(Call().utter(600, 1610).hear(2000, tone(100)).ends(2500)).outcome is Outcome.ANSWERED
    assert only(Call().utter(600, 1610).hear(2000, tone(80)).ends(2180)).outcome is Outcome.ANSWERED


def probe_call(call: Call, hang_up_ms: float = 2500) -> TurnRecord:
    return only(call.ends(hang_up_ms), plan=replace(planned(), probe=True))


def test_a_stall_in_which_a_probe_call_was_hung_up_is_broken() -> None:
    """160 ms of sound, then dry until the hang-up: an underrun of that length, unless it was our own."""
    turn = probe_call(Call().utter(600, 1610).hear(2000, tone(160)))
    assert (turn.outcome, turn.underruns_ms) == (Outcome.BROKEN, (340.0,))
    assert "underruns of 340 ms" in turn.detail
    assert probe_call(Call().utter(600, 1610).hear(2000, tone(160)).stall(2499, 300)).outcome is Outcome.INVALID
    assert probe_call(Call().utter(600, 1610).hear(2000, tone(160)), 2260).outcome is Outcome.ANSWERED
    assert only(Call().utter(600, 1610).hear(2000, tone(160)).ends(2500)).outcome is Outcome.ANSWERED


@pytest.mark.parametrize("sound_ms", [160, 350])
def test_a_reply_that_was_marked_is_whole(sound_ms: int) -> None:
    """A mark (or a `clear`) after the last audio ends the reply; one before it does not."""
    assert probe_call(Call().utter(600, 1610).hear(2000, tone(sound_ms)).mark(2001)).outcome is Outcome.ANSWERED
    assert probe_call(Call().utter(600, 1610).hear(2000, tone(sound_ms)).clear(2390)).outcome is Outcome.ANSWERED
    early = Call().hear(100, tone(200)).mark(101).utter(600, 1610).hear(2000, tone(sound_ms))
    assert probe_call(early).outcome is Outcome.BROKEN


def test_a_reply_of_an_agent_without_marks_is_whole_from_300_ms_on() -> None:
    """What such an agent has ended is not known: a word is no reply, a short sentence may be."""
    assert probe_call(Call().utter(600, 1610).hear(2000, tone(290))).outcome is Outcome.BROKEN
    assert probe_call(Call().utter(600, 1610).hear(2000, tone(300))).outcome is Outcome.ANSWERED


def test_an_underrun_of_our_own_is_not_laid_to_the_agent() -> None:
    """Dry while our own loop was away: the turn is invalid; dry beside it is broken."""
    call = Call().utter(600, 1610).hear(2000, tone(300)).hear(2450, tone(300))
    assert only(call.ends(4000)).outcome is Outcome.BROKEN
    assert only(call.stall(2449, 90).ends(4000)).outcome is Outcome.INVALID
    elsewhere = Call().utter(600, 1610).hear(2000, tone(300)).hear(2450, tone(300)).stall(2290, 90)
    assert only(elsewhere.ends(4000)).outcome is Outcome.BROKEN


@pytest.mark.parametrize(
    ("transcript", "outcome"),
    [
        (WORDS, Outcome.ANSWERED),
        ("Please call me back tomorrow!", Outcome.ANSWERED),
        ("please call back tomorrow", Outcome.ANSWERED),
        ("please call me back", Outcome.TRUNCATED),
        ("peas fall me back tomorrow", Outcome.WRONG),
        ("peas fall me back", Outcome.TRUNCATED),
        ("", Outcome.TRUNCATED),
        (None, Outcome.ANSWERED),
    ],
)
def test_the_words_that_were_answered(transcript: str | None, outcome: Outcome) -> None:
    """The last word dropped is truncated, too many errors before it are wrong, no transcript is no verdict."""
    turn = only(example_call().ends(4000), transcript_spans(transcript))
    assert turn.outcome is outcome
    assert (turn.wer is None) is (transcript is None)


def test_the_scenarios_words_go_before_the_clips() -> None:
    """`expect` and `wer_limit` are the scenario's; the clip's transcript is used where there is none."""
    strict = planned(expect="please call me back soon tomorrow", wer_limit=0.1)
    turn = only(example_call().ends(4000), transcript_spans(WORDS), strict)
    assert (turn.outcome, turn.word_errors, turn.words) == (Outcome.WRONG, 1, 6)
    without = Call().utter(600, 1610, words=None).hear(2005, tone(300)).ends(4000)
    assert only(without, transcript_spans(WORDS)).wer is None


def test_cut_off() -> None:
    """Sound before t0 has no gap, and tells how early it was."""
    turn = only(Call().utter(600, 1610).hear(1500, tone(300)).ends(4000))
    assert (turn.outcome, turn.t1_ns, turn.turn_gap_ms, turn.perceived_gap_ms) == (Outcome.CUT_OFF, None, None, None)
    assert turn.detail == "the agent was audible 110 ms before the caller had finished"


def test_missed() -> None:
    """No sound in the turn's time has no gap; silent messages do not help."""
    turn = only(Call().utter(600, 1610).hear(2000, quiet(3000)).ends(9000))
    assert (turn.outcome, turn.turn_gap_ms, turn.first_byte_ms) == (Outcome.MISSED, None, 390)
    assert turn.detail == "no audible answer within 6000 ms"
    assert turn.stages_note == "no answer, so no path to explain"


def test_an_echo_is_named_as_sound_during_the_callers_speech() -> None:
    """It is missed as silence is, but it was audible all the time that the caller spoke."""
    turn = only(Call().utter(600, 1610).hear(620, tone(1010)).hear(1700, quiet(3000)).ends(9000))
    assert (turn.outcome, turn.turn_gap_ms) == (Outcome.MISSED, None)
    assert turn.detail.startswith("no audible answer within 6000 ms: sound came while the caller spoke")
    tail = only(Call().hear(500, tone(300)).utter(600, 1610).ends(9000))
    assert tail.detail == "no audible answer within 6000 ms"


@pytest.mark.parametrize(
    ("frame", "late_ms", "outcome"),
    [
        (80, 5.0, Outcome.ANSWERED),
        (80, 5.001, Outcome.INVALID),
        (90, 6.0, Outcome.INVALID),
        (54, 6.0, Outcome.ANSWERED),
        (110, 6.0, Outcome.ANSWERED),
    ],
)
def test_invalid_by_send_lateness(frame: int, late_ms: float, outcome: Outcome) -> None:
    """Over 5 ms late between 500 ms before t0 and t1 takes the figure away; it is still in the record."""
    turn = only(example_call().late(frame, late_ms).ends(4000))
    assert (turn.outcome, turn.turn_gap_ms) == (outcome, 415)


def test_invalid_by_receive_lateness() -> None:
    """The same for the loop that reads."""
    turn = only(example_call().stall(2004, 6).ends(4000))
    assert (turn.outcome, turn.lateness_recv_ms) == (Outcome.INVALID, 6)
    assert turn.detail == "the instrument was late: send 0.0 ms, receive 6.0 ms (limit 5 ms)"


def test_lateness_does_not_hide_wrong_words() -> None:
    """A turn that is wrong whatever its timing is wrong."""
    turn = only(example_call().late(80, 6).ends(4000), transcript_spans("peas fall me back tomorrow"))
    assert (turn.outcome, turn.lateness_send_ms) == (Outcome.WRONG, 6)


def test_turns_of_one_call() -> None:
    """Each has its own gap, attempt and words; the tail of one reply is not the other's cut-off."""
    call = Call().hear(50, tone(300)).utter(600, 1610).hear(2005, quiet(20), tone(500))
    call.utter(2600, 3610).hear(4005, quiet(20), tone(500))
    spans = (call_span(2), *attempt_spans(), *attempt_spans(turn=1, shift_ms=2000, transcript="please call me back"))
    first, second = score(call.ends(6000), spans, planned(2))
    assert (first.turn, first.utterance_id, first.outcome, first.turn_gap_ms) == (0, "t0", Outcome.ANSWERED, 415)
    assert (second.turn, second.utterance_id, second.outcome) == (1, "t1", Outcome.TRUNCATED)
    assert second.turn_gap_ms == 415
    assert first.stages is not None
    assert second.stages is not None
    assert first.stages == second.stages
    assert (first.attempts, second.attempts) == (1, 1)


@pytest.mark.parametrize("end", [CallEnd.AGENT_CLOSED, CallEnd.REFUSED])
def test_a_call_that_never_was(end: CallEnd) -> None:
    """Every planned turn of it is a failed record, so that n stays what was planned."""
    reason = "the agent ended the call: connection refused" if end is CallEnd.AGENT_CLOSED else "connection refused"
    turns = score(Call().ends(0, end, reason), (), planned(3))
    assert [(turn.turn, turn.outcome, turn.scored) for turn in turns] == [
        (index, Outcome.FAILED, True) for index in range(3)
    ]
    assert turns[0].detail.startswith("never spoken: the agent")
    assert turns[0].detail.count("the agent") == 1
    assert "connection refused" in turns[0].detail
    assert TurnRecord.model_validate_json(turns[0].model_dump_json()) == turns[0]


def test_a_call_that_broke_on_the_way() -> None:
    """Turns before stand, the one that was waiting failed, those after it failed."""
    call = example_call().utter(3000, 4000)
    turns = score(call.ends(4300, CallEnd.AGENT_CLOSED, "the agent ended the call after 1.0 s: 1006"), (), planned(3))
    assert [turn.outcome for turn in turns] == [Outcome.ANSWERED, Outcome.FAILED, Outcome.FAILED]
    assert turns[1].detail == "no answer: the agent ended the call after 1.0 s: 1006"


def test_a_turn_before_the_break_was_missed() -> None:
    """The caller had started the next utterance without an answer; only the turns the break hit failed."""
    call = Call().utter(600, 1610).utter(3000, 4000)
    turns = score(call.ends(4300, CallEnd.AGENT_CLOSED), (), planned(2))
    assert [turn.outcome for turn in turns] == [Outcome.MISSED, Outcome.FAILED]


def test_a_call_that_broke_in_mid_utterance() -> None:
    """The caller never got to t0."""
    turn = only(Call().utter(600, 1610).ends(1200, CallEnd.AGENT_CLOSED))
    assert (turn.outcome, turn.turn_gap_frame_ms) == (Outcome.FAILED, None)
    assert turn.detail == "the call ended before the caller had finished: the agent closed the call"


def test_a_call_that_broke_in_mid_reply() -> None:
    """Closed with audio unplayed is failed; closed after all was played is an answer; cleared audio is not missed."""
    closed = example_call().ends(2300, CallEnd.AGENT_CLOSED)
    assert only(closed).outcome is Outcome.FAILED
    assert only(closed).detail == "in mid-reply, 225 ms unplayed: the agent closed the call"
    assert only(example_call().ends(2600, CallEnd.AGENT_CLOSED)).outcome is Outcome.ANSWERED
    assert only(example_call().clear(2300).ends(2600, CallEnd.AGENT_CLOSED)).outcome is Outcome.ANSWERED


def test_closed_after_waiting_had_ended_is_missed() -> None:
    """The turn's time was up before the agent closed."""
    call = Call().utter(600, 1610, answer_within_ms=1000)
    assert only(call.ends(2700, CallEnd.AGENT_CLOSED)).outcome is Outcome.MISSED
    assert only(call.ends(2500, CallEnd.AGENT_CLOSED)).outcome is Outcome.FAILED


def test_an_interrupted_call_keeps_its_finished_turns() -> None:
    """A turn that the end of the run cut short is not the agent's failure: no record, to be repeated on resume."""
    call = example_call().utter(3000, 4000)
    assert [turn.turn for turn in score(call.ends(4300, CallEnd.INTERRUPTED), (), planned(3))] == [0]
    waited = example_call().utter(3000, 4000, answer_within_ms=200)
    assert [turn.outcome for turn in score(waited.ends(4300, CallEnd.INTERRUPTED), (), planned(3))] == [
        Outcome.ANSWERED,
        Outcome.MISSED,
    ]


def test_warm_up_and_cold_turns_are_not_scored() -> None:
    """Both are kept and marked; of a cold call only the first turn is cold."""
    assert not only(example_call().ends(4000, warm_up=True)).scored
    first, second = score(example_call().utter(3000, 4000).hear(4300, tone(300)).ends(6000), (), planned(2), cold=True)
    assert (first.cold, first.scored) == (True, False)
    assert (second.cold, second.scored) == (False, True)


def test_lead_ins_are_not_scored() -> None:
    """They are kept and marked, reached or not; the call's last turn is the scored one."""
    call = example_call().utter(3000, 4000).hear(4300, tone(300))
    led = replace(planned(3), lead_ins=2)
    turns = score(call.ends(6000), (), led)
    assert [(turn.lead_in, turn.scored) for turn in turns] == [(True, False), (True, False), (False, True)]
    assert (turns[0].turn_gap_ms, turns[2].outcome) == (415.0, Outcome.FAILED)


def test_figures_are_in_milliseconds_of_exact_nanoseconds() -> None:
    """No rounding on the way: a message that came off the grid has its own time to the nanosecond."""
    turn = only(Call().utter(600, 1610).hear(2005.123457, tone(300)).ends(4000))
    assert turn.t1_ns == ns(2005.123457)
    assert turn.turn_gap_ms == (turn.t1_ns - turn.t0_ns) / NS_PER_MS


@pytest.mark.parametrize(("spoke_ms", "expected"), [(14_000, Outcome.LIMITED), (9_000, Outcome.CUT_OFF)])
def test_a_caller_who_does_not_stop_is_spoken_to(spoke_ms: int, expected: Outcome) -> None:
    """The agent's first sound counts, from the caller's beginning; there is no gap and no transcript to judge."""
    call = Call().utter(600, 20_000).hear(600 + spoke_ms, tone(900)).hear(20_500, tone(600)).ends(23_000)
    (turn,) = score_call(call, (), planned_as("limit"), network_ms=95, cold=False)
    assert (turn.outcome, turn.turn_gap_ms, turn.stages) == (expected, None, None)
