"""Whatever happened in a call, scoring it returns one sound record a planned turn."""

from __future__ import annotations

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from turngap.model.records import CallEnd, CallRecord
from turngap.model.turn import Outcome
from turngap.scoring.score import score_call
from turngap_agent import tracing
from turngap_agent.tracing import AGENT_STAGES, Span, Stage

from tests.harness.builders import EXAMPLE_STAGES, Call, attempt_spans, call_span, example_call, planned, quiet, tone

TIMES = st.floats(0, 4000, allow_nan=False)


@st.composite
def calls(draw: st.DrawFn) -> CallRecord:
    """Up to three utterances, any messages, clears, late frames and stalls, ended anyhow and anywhere.

    Half of the calls begin with the example's answered utterance.
    """
    answered = draw(st.booleans())
    call, at_ms = (example_call(), 2600.0) if answered else (Call(), 0.0)
    for _ in range(draw(st.integers(0, 2 if answered else 3))):
        start_ms = at_ms + draw(st.floats(0, 800))
        at_ms = start_ms + draw(st.floats(1, 900))
        call.utter(start_ms, at_ms, answer_within_ms=draw(st.sampled_from([300, 1500])))
    messages = st.tuples(st.floats(2600, 4000) if answered else TIMES, st.integers(0, 5))
    times = sorted(draw(st.lists(messages, max_size=12)))
    for time_ms, kind in times:
        if kind == 5:
            call.clear(time_ms)
        else:
            call.hear(time_ms, quiet(draw(st.floats(0, 60))), tone(draw(st.sampled_from([0, 20, 80, 400]))))
    if draw(st.booleans()):
        call.late(draw(st.integers(0, 200)), draw(st.floats(0, 150)))
        call.stall(draw(TIMES), draw(st.floats(0.5, 200)))
    return call.ends(draw(st.floats(0, 5000)), draw(st.sampled_from(CallEnd)))


@st.composite
def traces(draw: st.DrawFn) -> list[Span]:
    """The example's attempt with its stages moved, or up to three attempts at any times, some of their spans lost."""
    if draw(st.booleans()):
        moves = {stage: draw(st.floats(-40, 40)) for stage in EXAMPLE_STAGES}
        moved = {stage: (start, end + moves[stage]) for stage, (start, end) in EXAMPLE_STAGES.items()}
        return [call_span(), *attempt_spans(stages=moved)]
    spans = [call_span(draw(st.integers(0, 3)))]
    for attempt in range(draw(st.integers(0, 3))):
        stages: dict[Stage, tuple[float, float]] = {}
        for stage in draw(st.sets(st.sampled_from(AGENT_STAGES))):
            start_ms = draw(TIMES)
            stages[stage] = (start_ms, start_ms + draw(st.floats(0, 900)))
        spans += attempt_spans(
            attempt=attempt,
            provisional_ms=draw(st.none() | TIMES),
            confirmed_ms=draw(st.none() | TIMES),
            sent_ms=draw(st.none() | TIMES),
            stages=stages,
            heard=draw(st.booleans()),
            interrupted=draw(st.booleans()),
            transcript=draw(st.sampled_from([None, "", "please call me back", "um", "tomorrow 5"])),
        )
    return [span for span in spans if draw(st.integers(0, 9)) > 0]


@settings(deadline=None)
@given(calls(), traces())
def test_any_call_can_be_scored(record: CallRecord, spans: list[Span]) -> None:
    """Times are in order, exposed times add up to the gap, and a null is where there is no figure."""
    turns = score_call(record, spans, planned(3), network_ms=95, cold=False)
    assert [turn.turn for turn in turns] == list(range(len(turns)))
    assert record.end is CallEnd.INTERRUPTED or len(turns) == 3
    for turn in turns:
        if turn.turn_gap_ms is None:
            assert (turn.t1_ns, turn.perceived_gap_ms, turn.stages, turn.path) == (None, None, None, ())
            assert turn.outcome not in (Outcome.ANSWERED, Outcome.BROKEN)
            continue
        assert turn.t1_ns is not None
        assert turn.t1_ns >= turn.t0_ns
        assert turn.perceived_gap_ms == turn.turn_gap_ms + 95
        assert turn.reply_ms is not None
        assert turn.reply_ms >= sum(turn.underruns_ms) >= 0
        if turn.stages is None:
            assert turn.stages_note
            continue
        assert min(time.exposed_ms for time in turn.stages.values()) >= 0
        assert min(time.slack_ms for time in turn.stages.values()) >= 0
        assert sum(time.exposed_ms for time in turn.stages.values()) == pytest.approx(turn.turn_gap_ms, abs=1e-6)
        assert all(time.exposed_ms <= time.duration_ms + 1e-9 for time in turn.stages.values())


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_the_generated_calls_include_explained_gaps() -> None:
    """Among them are turns with a gap and stages, so that every assertion above is reached."""

    def has_stages(case: tuple[CallRecord, list[Span]]) -> bool:
        return any(turn.stages for turn in score_call(*case, planned(3), network_ms=95, cold=False))

    find(
        st.tuples(calls(), traces()),
        has_stages,
        settings=settings(max_examples=3000, derandomize=True, phases=[Phase.generate], database=None),
    )


AUDIO = ("t0_ns", "t1_ns", "turn_gap_ms", "turn_gap_frame_ms", "first_byte_ms", "underruns_ms", "reply_ms")


def reports_late_reply(spans: list[Span], speech_ns: int) -> bool:
    """Whether some reply was decided on before the caller spoke, by its own word, and sent after that."""
    reports = [span.attributes for span in spans if span.attributes.get(tracing.HEARD) is True]
    for report in reports:
        decided, sent = (
            report.get(tracing.CONFIRMED_NS, report.get(tracing.PROVISIONAL_NS)),
            report.get(tracing.SENT_NS),
        )
        if isinstance(decided, int) and isinstance(sent, int) and decided < speech_ns < sent:
            return True
    return False


@settings(deadline=None)
@given(calls(), traces())
def test_what_the_caller_heard_does_not_depend_on_spans(record: CallRecord, spans: list[Span]) -> None:
    """An agent cannot change its gap or its playout by what it reports, and never make it earlier.

    The one report that counts is that of a reply to an earlier turn, still being sent while the caller spoke: its sound
    is not this turn's.
    """
    silent = score_call(record, (), planned(3), network_ms=95, cold=False)
    reported = score_call(record, spans, planned(3), network_ms=95, cold=False)
    for index, (one, other) in enumerate(zip(silent, reported, strict=True)):
        spoken = index < len(record.spoken)
        if not (index and spoken and reports_late_reply(spans, record.sample_ns(record.spoken[index].start_sample))):
            assert [getattr(one, name) for name in AUDIO] == [getattr(other, name) for name in AUDIO]
            continue
        assert one.t0_ns == other.t0_ns
        for name in ("t1_ns", "turn_gap_ms", "turn_gap_frame_ms", "first_byte_ms"):
            by_sound, by_spans = getattr(one, name), getattr(other, name)
            assert by_spans is None or by_sound is None or by_spans >= by_sound


@pytest.mark.parametrize("says", ["nothing", "after the caller spoke", "after it was sent"])
@pytest.mark.parametrize("sound_ms", [1, 300])
def test_a_reply_is_an_earlier_turn_s_only_if_its_span_says_so(says: str, sound_ms: int) -> None:
    """The start of a turn's span may be the caller's own: it is no word on when the reply was decided on."""
    record = Call().utter(0, 600).utter(1200, 1700).hear(2000, tone(sound_ms)).ends(4000)
    confirmed_ms = {"nothing": None, "after the caller spoke": 1900, "after it was sent": 2100}[says]
    spans = [call_span(), *attempt_spans(provisional_ms=None, confirmed_ms=confirmed_ms, sent_ms=1999, stages={})]
    silent, reported = (score_call(record, own, planned(2), network_ms=95, cold=False)[1] for own in ((), spans))
    assert (silent.first_byte_ms, silent.turn_gap_ms) == (300, 300 if sound_ms == 300 else None)
    assert [getattr(reported, name) for name in AUDIO] == [getattr(silent, name) for name in AUDIO]


def test_spans_that_contradict_the_call_s_own_move_no_sound() -> None:
    """One turn span more than the call span counts: none of them says whose the sound was."""
    record = Call().utter(0, 600).utter(1200, 1700).hear(2000, tone(300)).ends(4000)
    late = attempt_spans(confirmed_ms=1100, provisional_ms=None, sent_ms=1999, stages={})
    gaps = [
        score_call(record, [call_span(count), *late], planned(2), network_ms=95, cold=False)[1].turn_gap_ms
        for count in (0, 1, 2)
    ]
    assert gaps == [300, None, 300]
