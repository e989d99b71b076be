"""Spans on their way: as recorded, in whole calls, and never in the way of the agent."""

import logging
import threading

import pytest
from turngap_agent import clock, tracing
from turngap_agent.telemetry import export
from turngap_agent.telemetry.recorder import CallNotes
from turngap_agent.tracing import Stage


@pytest.fixture
def receiver(request, otlp_receiver, monkeypatch):
    """Named in the environment; the test's parameter is the status it answers with."""
    made = otlp_receiver(getattr(request, "param", 200))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    return made


def a_call(attempts: int = 1):
    notes = CallNotes("CA1", 1_000)
    for index in range(attempts):
        attempt = notes.attempt(index, 1, 2_000)
        attempt.stage(Stage.TRANSCRIPTION, 2_000, 3_000)
        attempt.fact(tracing.ARRIVALS_NS, (1, 2, 3))
        attempt.fact(tracing.HEARD, True)
        attempt.end(4_000)
    return notes.traces(5_000)


def test_without_a_receiver_nothing_is_exported(monkeypatch):
    """No endpoint in the environment, or a disabled SDK: no exporter."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert export.make_exporter("scripted") is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert export.make_exporter("scripted") is None


def test_spans_arrive_exact(receiver):
    """Times are the monotonic ones plus the anchor, to the nanosecond; attributes and parentage are kept."""
    exporter = export.make_exporter("scripted")
    exporter.put(a_call())
    exporter.close()
    turn, stage, call = receiver.spans
    assert [turn.name, stage.name, call.name] == [tracing.TURN_SPAN, "turngap.transcription", tracing.CALL_SPAN]
    assert stage.start_time_unix_nano == 2_000 + clock.ANCHOR_UNIX_NS
    assert stage.end_time_unix_nano == 3_000 + clock.ANCHOR_UNIX_NS
    assert stage.parent_span_id == turn.span_id
    assert stage.trace_id == turn.trace_id != call.trace_id
    facts = receiver.facts(turn)
    assert facts[tracing.ARRIVALS_NS] == (1, 2, 3)
    assert facts[tracing.HEARD] is True
    assert (facts[tracing.START_NS], facts[tracing.END_NS]) == (2_000, 4_000)
    assert (facts[tracing.CALL_SID], facts[tracing.TURN], facts[tracing.ATTEMPT]) == ("CA1", 0, 1)
    assert receiver.resource[tracing.ANCHOR_NS] == clock.ANCHOR_UNIX_NS
    assert receiver.resource[tracing.BOOT_ID] == tracing.read_boot_id()
    assert exporter.lost_spans == 0


def test_a_long_call_arrives_whole(receiver):
    """More spans than one request carries, more than the SDK's own queue holds: all arrive."""
    exporter = export.make_exporter("scripted")
    exporter.put(a_call(attempts=1500))
    exporter.close()
    assert len(receiver.spans) == 3001


@pytest.mark.parametrize("receiver", [400], indirect=True)
def test_a_refusal_is_counted_and_logged_once(receiver, caplog):
    """However many calls are refused, the log has one line, and every lost span is counted."""
    exporter = export.make_exporter("scripted")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            exporter.put(a_call())
        exporter.close()
    assert exporter.lost_spans == 9
    assert len(caplog.records) == 1
    assert "not delivered" in caplog.records[0].getMessage()


@pytest.mark.parametrize("receiver", [None], indirect=True)
def test_a_receiver_that_hangs_does_not_hold_the_agent(receiver, caplog, monkeypatch):
    """`close` stops waiting for it, and logs that."""
    monkeypatch.setattr(export, "FLUSH_S", 0.1)
    monkeypatch.setattr(export, "EXPORT_TIMEOUT_S", 0.3)
    exporter = export.make_exporter("scripted")
    exporter.put(a_call())
    exporter.close()
    assert "does not answer" in caplog.text


def test_a_queue_that_is_full_drops_loudly(receiver, caplog, monkeypatch):
    """More calls than may wait: the spans are counted and logged, and `put` does not block."""
    monkeypatch.setattr(export, "MAX_CALLS", 1)
    blocked, entered = threading.Event(), threading.Event()

    class Stuck(export.SpanExporter):
        def _export(self, spans):
            entered.set()
            blocked.wait(10)

    exporter = Stuck("scripted")
    exporter.put(a_call())
    entered.wait(10)
    exporter.put(a_call())
    exporter.put(a_call())
    assert exporter.lost_spans == 3
    assert "not delivered" in caplog.text
    blocked.set()
    exporter.close()
