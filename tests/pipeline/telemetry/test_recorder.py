"""Notes of a call become the spans the instrument expects."""

import re

from turngap_agent import tracing
from turngap_agent.telemetry.recorder import NO_TURN, CallNotes
from turngap_agent.tracing import Stage


def test_an_attempt_becomes_a_turn_span_with_its_stages():
    """The turn span is first, begins with the earliest stage, and has the number of spans."""
    notes = CallNotes("CA1", 50)
    attempt = notes.attempt(2, 1, started_ns=100)
    attempt.stage(Stage.TRANSCRIPTION, 100, 140)
    attempt.stage(Stage.ENDPOINTING, 60, 101)
    attempt.detail(tracing.SYNTHESIS_SPAN, 150, 160)
    attempt.fact(tracing.TRANSCRIPT, "old")
    attempt.fact(tracing.TRANSCRIPT, "words")
    attempt.end(200)
    attempt.end(999)
    trace, call = notes.traces(300)
    turn = trace.spans[0]
    assert (turn.name, turn.start_ns, turn.end_ns) == (tracing.TURN_SPAN, 60, 200)
    assert turn.attributes == {tracing.TRANSCRIPT: "words", tracing.COMPUTE_MS: 0.0, tracing.SPANS: 4}
    assert [(span.name, span.start_ns, span.end_ns) for span in trace.spans[1:]] == [
        ("turngap.transcription", 100, 140),
        ("turngap.endpointing", 60, 101),
        ("turngap.synthesis", 150, 160),
    ]
    assert {(span.call_sid, span.turn, span.attempt) for span in trace.spans} == {("CA1", 2, 1)}
    assert attempt.stages == [(Stage.TRANSCRIPTION, 40), (Stage.ENDPOINTING, 41)]
    (span,) = call.spans
    assert (span.name, span.turn, span.start_ns, span.end_ns) == (tracing.CALL_SPAN, NO_TURN, 50, 300)
    assert span.attributes == {tracing.ATTEMPTS: 1}


def test_live_spans_leave_as_each_attempt_ends_and_once():
    """Whoever watches need not wait for the call's end; what was handed over then is the rest."""
    given = []

    class Sink:
        def put(self, traces):
            given.append([trace.spans[0].attempt for trace in traces])

    notes = CallNotes("CA1", 0, Sink())
    one, _ = notes.attempt(0, 1, 0), notes.attempt(0, 2, 0)
    assert given == []
    one.end(100)
    one.end(200)
    assert given == [[1]]
    rest = notes.traces(300)
    assert [trace.spans[0].attempt for trace in rest] == [2, NO_TURN]
    assert rest[-1].spans[0].attributes == {tracing.ATTEMPTS: 2}


def test_every_attempt_is_a_trace_of_its_own():
    """`traceparent` is W3C's, and names the attempt's own trace and turn span."""
    notes = CallNotes("CA1", 0)
    one, two = notes.attempt(0, 1, 0), notes.attempt(0, 2, 0)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", one.traceparent)
    assert one.traceparent == f"00-{one.trace().trace_id:032x}-{one.trace().span_id:016x}-01"
    assert one.trace_id != two.trace_id
