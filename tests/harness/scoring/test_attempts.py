"""Which attempt was heard; spans missing, double, foreign or contradictory give a note, never wrong numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from turngap.model.records import CallRecord
from turngap.scoring import attempts
from turngap.scoring.attempts import HeardAttempt
from turngap.scoring.critical_path import Interval, exposed_by_stage_ns, find_critical_path, slack_by_activity_ns
from turngap.scoring.milestones import find_milestones
from turngap_agent import tracing
from turngap_agent.tracing import Activity, Span, Stage

from tests.harness.builders import EXAMPLE_STAGES, Call, attempt_spans, call_span, example_call, ns, quiet, tone

WHOLE = [call_span(), *attempt_spans()]


def find(spans: Sequence[Span], record: CallRecord | None = None, turn: int = 0) -> HeardAttempt:
    """The attempt heard in the example call."""
    record = record or example_call().ends(4000)
    return attempts.find_heard_attempt(record, attempts.select_call_spans(record, spans), find_milestones(record)[turn])


def interval(start_ms: float, end_ms: float) -> Interval:
    return Interval(ns(start_ms), ns(end_ms))


def test_the_activities_of_a_whole_attempt() -> None:
    """The line's activities are what the instrument saw, endpointing begins when t0's frame was read."""
    attempts = find(WHOLE)
    assert attempts.note == ""
    assert attempts.activities == {
        Activity.FRAMING_IN: interval(1610, 1620),
        Activity.TRANSPORT_IN: interval(1620, 1621),
        Activity.PROVISIONAL_END: interval(1621, 1685),
        Activity.CONFIRMED_END: interval(1621, 1931),
        Activity.TRANSCRIPTION: interval(1686, 1746),
        Activity.FIRST_TOKEN: interval(1747, 1847),
        Activity.FIRST_CLAUSE: interval(1847, 1897),
        Activity.FIRST_AUDIO: interval(1898, 1998),
        Activity.ENCODING: interval(1998, 2003),
        Activity.TRANSPORT_OUT: interval(2004, 2005),
        Activity.LEAD_IN: interval(2005, 2025),
    }


@pytest.mark.parametrize(
    ("held", "provisional_ms", "confirmed_ms", "endpointing_ms"),
    [
        (None, 1804, 1950, 1804 - 1621),  # speculate: synthesis
        (Stage.FIRST_AUDIO, 1685, 1934, 1934 - 1621),  # generation
        (Stage.FIRST_TOKEN, 1685, 1854, 1854 - 1621),  # transcription
        (Stage.TRANSCRIPTION, 1685, 1804, 1804 - 1621),  # none
        (None, 1804, 1803.99, 1804 - 1621),  # policy silence: begun because it is confirmed
    ],
)
def test_the_wait_of_work_that_is_held_is_endpointing(
    held: Stage | None, provisional_ms: float, confirmed_ms: float, endpointing_ms: float
) -> None:
    """However far an agent speculates: where work waits for the confirmed end, it is endpointing that is exposed."""
    stages = {Stage.ENDPOINTING: (1621.0, confirmed_ms)}
    at_ms, waited = provisional_ms, held is None
    shown = {Stage.ENDPOINTING: endpointing_ms}
    for stage, duration_ms in (
        (Stage.TRANSCRIPTION, 50),
        (Stage.FIRST_TOKEN, 50),
        (Stage.FIRST_CLAUSE, 30),
        (Stage.FIRST_AUDIO, 60),
        (Stage.ENCODING, 10),
    ):
        if stage is held:
            at_ms, waited = confirmed_ms, True
        stages[stage] = (at_ms, at_ms + duration_ms)
        shown[stage] = duration_ms if waited else 0
        at_ms += duration_ms
    spans = attempt_spans(stages=stages, provisional_ms=provisional_ms, confirmed_ms=confirmed_ms)
    activities = find([call_span(), *spans]).activities
    assert activities is not None
    exposed = exposed_by_stage_ns(find_critical_path(activities, ns(1610), ns(2025)))
    assert exposed[Stage.UNEXPLAINED] == 0
    assert {stage: exposed[stage] for stage in shown} == {stage: ns(ms) - ns(0) for stage, ms in shown.items()}
    confirmed_slack_ns = slack_by_activity_ns(activities, ns(2025))[Activity.CONFIRMED_END]
    assert confirmed_slack_ns == (0 if held is not None else ns(2004) - ns(confirmed_ms))


def test_arrivals_may_begin_late_in_the_call() -> None:
    """Chunk k is frame k - 1, wherever the list of arrivals begins."""
    attempts = find([call_span(), *attempt_spans(first_chunk=75)])
    assert attempts.activities is not None
    assert attempts.activities[Activity.TRANSPORT_IN] == interval(1620, 1621)


def test_without_speculation_both_ends_are_one() -> None:
    """An agent that reports a confirmed end only has decided once."""
    attempts = find([call_span(), *attempt_spans(provisional_ms=None)])
    assert attempts.activities is not None
    assert attempts.activities[Activity.PROVISIONAL_END] == attempts.activities[Activity.CONFIRMED_END]


@pytest.mark.parametrize(("provisional_ms", "began_ms"), [(1500, 1500), (1615, 1610)])
def test_a_decision_before_t0s_frame_was_there(provisional_ms: float, began_ms: float) -> None:
    """It was made on what had been heard before: endpointing was under way at t0."""
    attempts = find([call_span(), *attempt_spans(provisional_ms=provisional_ms)])
    assert attempts.activities is not None
    assert attempts.activities[Activity.PROVISIONAL_END] == interval(began_ms, provisional_ms)


def test_the_attempt_that_was_heard_is_the_last_that_was_sent() -> None:
    """A cancelled attempt that was never sent, and one sent before, are not what the caller heard."""
    spans = [
        call_span(3),
        *attempt_spans(attempt=0, heard=False, sent_ms=None, transcript="please"),
        *attempt_spans(attempt=1, interrupted=True, sent_ms=1990, transcript="please call"),
        *attempt_spans(attempt=2),
    ]
    attempts = find(spans)
    assert attempts.turn_span is not None
    assert (attempts.turn_span.attempt, attempts.note) == (2, "")


def test_an_attempt_sent_later_was_not_heard_yet() -> None:
    """What was handed over after the onset's message came is another reply."""
    attempts = find([call_span(2), *attempt_spans(), *attempt_spans(turn=1, sent_ms=2006)])
    assert attempts.turn_span is not None
    assert attempts.turn_span.turn == 0


def test_turns_are_matched_by_time_not_by_number() -> None:
    """The agent may count a greeting, or a noise, as a turn: its numbers are its own."""
    record = Call().utter(600, 1610).hear(2005, tone(300)).utter(3000, 3610).hear(4005, tone(300)).ends(6000)
    spans = [call_span(2), *attempt_spans(turn=4), *attempt_spans(turn=7, shift_ms=2000)]
    numbers = [attempts.turn_span.turn for turn in (0, 1) if (attempts := find(spans, record, turn)).turn_span]
    assert numbers == [4, 7]


def test_transport_out_ends_with_the_first_message_of_the_reply() -> None:
    """Later messages, and the one that holds t1, do not matter; lead-in begins when the first is played."""
    record = Call().utter(600, 1610).hear(1990, quiet(40)).hear(2005, quiet(20)).hear(2020, tone(300)).ends(4000)
    activities = find(WHOLE, record).activities
    assert activities is not None
    assert activities[Activity.TRANSPORT_OUT] == interval(2004, 2005)
    assert activities[Activity.LEAD_IN] == interval(2030, 2050)


def test_repeated_spans_count_once() -> None:
    """An exporter that repeats itself changes nothing."""
    assert find([*WHOLE, *WHOLE]) == find(WHOLE)


def test_the_order_of_spans_does_not_matter() -> None:
    """Spans arrive as they end."""
    assert find(WHOLE[::-1]) == find(WHOLE)


def test_spans_of_another_call_are_left_out() -> None:
    """Beside our own they change nothing; alone they are none."""
    foreign = [replace(span, call_sid="CA2") for span in WHOLE]
    assert find([*foreign, *WHOLE]) == find(WHOLE)
    assert find(foreign).note == "the agent sent no spans for this call (8 of other calls)"


def test_no_spans() -> None:
    """An agent that sends none has no stages, and the note says so."""
    assert find([]) == HeardAttempt(None, None, "the agent sent no spans for this call")


@pytest.mark.parametrize("lost", range(2, 8))
def test_a_lost_span_leaves_no_stages(lost: int) -> None:
    """Any stage span that did not arrive is noticed by the turn span's count; the transcript is still there."""
    matched = find(WHOLE[:lost] + WHOLE[lost + 1 :])
    assert matched.activities is None
    assert matched.note == "6 of 7 spans of turn 0, attempt 0 arrived"
    assert attempts.text_attribute(matched.turn_span, tracing.TRANSCRIPT) is not None


def test_a_lost_turn_span_leaves_no_stages() -> None:
    """Without the turn span nothing is known of the attempt; the call span's count says that it was lost."""
    assert find([WHOLE[0], *WHOLE[2:]]) == HeardAttempt(None, None, "0 of 1 turn spans arrived")


def test_an_earlier_attempt_is_not_taken_for_a_lost_one() -> None:
    """Where a turn span was lost, an interrupted attempt may be the wrong one: it is not used."""
    first = attempt_spans(attempt=0, interrupted=True, sent_ms=1990)
    assert find([call_span(2), *first]) == HeardAttempt(None, None, "1 of 2 turn spans arrived")
    assert find(first).activities is None
    assert find([call_span(1), *first]).activities is not None


def test_a_lost_call_span_is_noted() -> None:
    """Stages stand, with the caveat."""
    attempts = find(WHOLE[1:])
    assert attempts.activities == find(WHOLE).activities
    assert attempts.note == "the call's own span is missing: a lost attempt would not be noticed"


def test_two_spans_that_contradict_each_other() -> None:
    """Two different spans of one stage, or of one turn, leave no stages."""
    other = replace(WHOLE[3], end_ns=WHOLE[3].end_ns + 1)
    assert find([*WHOLE, other]).note == "8 spans of turn 0, attempt 0 arrived, of 7: two attempts go by one name"
    uncounted = [replace(span, attributes=dict(span.attributes)) for span in WHOLE]
    del uncounted[1].attributes[tracing.SPANS]
    attempts = find([*uncounted, other])
    assert (attempts.activities, attempts.note) == (None, "turn 0, attempt 0 has two different transcription spans")
    second = replace(uncounted[1], start_ns=uncounted[1].start_ns + 1)
    assert find([*uncounted, second]).note == "turn 0, attempt 0 has 2 turn spans"


def test_later_clauses_are_detail() -> None:
    """Spans of further clauses count among the attempt's and are no stage."""
    clause = Span(tracing.SYNTHESIS_SPAN, ns(2010), ns(2100), WHOLE[0].call_sid, 0, 0)
    turn_span = replace(WHOLE[1], attributes=WHOLE[1].attributes | {tracing.SPANS: 9})
    attempts = find([WHOLE[0], turn_span, *WHOLE[2:], clause, replace(clause, end_ns=ns(2200))])
    assert attempts.activities == find(WHOLE).activities


def test_times_of_another_clock() -> None:
    """Spans that lie far outside their call were timed by another host or boot: they are not used."""
    foreign = [replace(span, start_ns=span.start_ns - 10**13, end_ns=span.end_ns - 10**13) for span in WHOLE]
    assert find(foreign) == HeardAttempt(None, None, "the spans' times are not of this host's clock")
    backwards = [*WHOLE[:2], replace(WHOLE[2], start_ns=WHOLE[2].end_ns, end_ns=WHOLE[2].start_ns), *WHOLE[3:]]
    assert find(backwards).note == "6 of 7 spans of turn 0, attempt 0 arrived"


def test_a_frame_read_before_it_was_complete() -> None:
    """A clock that is off by little shows in t0's frame: no stages."""
    attempts = find([call_span(), *attempt_spans(arrivals_late_ms=-3)])
    assert attempts.activities is None
    assert (
        attempts.note == "the frame that holds t0 was read before it was complete: the agent's clock is not this host's"
    )


@pytest.mark.parametrize("first_chunk", [82, 300])
def test_arrivals_without_t0s_frame(first_chunk: int) -> None:
    """Where the arrival of t0's frame is not known, transport and endpointing are not, so no stages are given."""
    attempts = find([call_span(), *attempt_spans(first_chunk=first_chunk)])
    assert attempts.activities is None
    assert attempts.note == "the turn span does not say when chunk 81, which holds t0, arrived"


def test_an_agent_that_reports_some_stages_only() -> None:
    """What it does not report is absent, and its span count says that nothing was lost."""
    some = {stage: EXAMPLE_STAGES[stage] for stage in (Stage.TRANSCRIPTION, Stage.FIRST_TOKEN)}
    attempts = find([call_span(), *attempt_spans(stages=some)])
    assert attempts.activities is not None
    assert Activity.TRANSCRIPTION in attempts.activities
    assert Activity.ENCODING not in attempts.activities


def test_sound_of_no_attempt_has_no_stages() -> None:
    """Sound that no attempt claims, a greeting that came late or a filler, has no stages."""
    assert find([call_span(), *attempt_spans(heard=False)]).note == "no attempt says that it sent what was heard"
    assert find([call_span(), *attempt_spans(sent_ms=None)]).note == "no attempt says that it sent what was heard"


def test_an_attempt_before_the_utterance_was_not_the_answer() -> None:
    """A greeting's attempt, sent before the caller spoke, does not claim the sound after t0."""
    assert find([call_span(), *attempt_spans(sent_ms=500)]).note == "no attempt says that it sent what was heard"


def test_a_message_that_was_cleared_before_it_played() -> None:
    """The reply's first message is the first that was played."""
    record = Call().utter(600, 1610).hear(2005, quiet(20)).clear(2005).hear(2010, tone(300)).ends(4000)
    activities = find(WHOLE, record).activities
    assert activities is not None
    assert activities[Activity.TRANSPORT_OUT] == interval(2004, 2010)


def test_no_onset_no_attempt() -> None:
    """A turn without an answer has none that was heard."""
    assert find(WHOLE, Call().utter(600, 1610).ends(9000)).note == "no answer, so no path to explain"


def test_a_cut_off_has_an_attempt_but_no_path() -> None:
    """The attempt that cut in is known, with its transcript; there is no gap to explain."""
    matched = find(
        [call_span(), *attempt_spans(sent_ms=1400)], Call().utter(600, 1610).hear(1500, tone(300)).ends(4000)
    )
    assert (matched.activities, matched.note) == (None, "the agent was audible before t0: there is no gap to explain")
    assert attempts.text_attribute(matched.turn_span, tracing.TRANSCRIPT) is not None


def test_attempts_are_counted_by_their_provisional_end() -> None:
    """Cancelled ones count; where some may have been lost the number is not known."""
    record = example_call().ends(4000)
    spans = [
        call_span(3),
        *attempt_spans(attempt=0, heard=False, sent_ms=None, provisional_ms=1000),
        *attempt_spans(attempt=1),
        *attempt_spans(turn=1, shift_ms=2000),
    ]
    assert (
        len(attempts.attempts_started_between(attempts.select_call_spans(record, spans), ns(600), ns(3000)) or ()) == 2
    )
    assert attempts.attempts_started_between(attempts.select_call_spans(record, spans[1:]), ns(600), ns(3000)) is None


@pytest.mark.parametrize(
    ("facts", "beyond"),
    [({}, None), ({"cached": 40}, None), ({"cached": 40, "allowed": 48}, 0), ({"cached": 64, "allowed": 48}, 16)],
)
def test_what_the_prefix_cache_served_beyond_what_it_may(facts: dict[str, int], beyond: int | None) -> None:
    """Unknown where the engine does not tell; never negative."""
    names = {"cached": tracing.PREFIX_CACHED_TOKENS, "allowed": tracing.PREFIX_ALLOWED_TOKENS}
    span = Span(tracing.TURN_SPAN, 0, 1, "CA1", 0, 1, {names[key]: value for key, value in facts.items()})
    assert attempts.count_foreign_prefix_tokens(span) == beyond
    assert attempts.count_foreign_prefix_tokens(None) is None
