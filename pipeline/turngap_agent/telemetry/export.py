"""Send finished calls' spans by OTLP/HTTP, on a thread of its own, when `OTEL_EXPORTER_OTLP_ENDPOINT` is set.

Nothing in a call waits for the receiver. A dead receiver costs one line in the log and at most `FLUSH_S` at the end of
the process. Every span that could not be delivered is counted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import secrets
import threading
from collections.abc import Iterable

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from turngap_agent import clock, tracing
from turngap_agent.telemetry.recorder import Trace
from turngap_agent.tracing import AttributeValue, Span

EXPORT_TIMEOUT_S = 1.5
FLUSH_S = 2.0
BATCH_SPANS = 256
MAX_CALLS = 1000
"""At most this many calls wait for a slow receiver; more are dropped, counted and logged."""

_log = logging.getLogger("turngap.export")


class SpanExporter:
    """Takes the spans of calls; `close` flushes them."""

    def __init__(self, profile: str) -> None:
        self.lost_spans = 0
        """Spans that the receiver did not take."""
        self._resource = Resource(
            {
                "service.name": "turngap-agent",
                "turngap.profile": profile,
                tracing.BOOT_ID: tracing.read_boot_id(),
                tracing.ANCHOR_NS: clock.ANCHOR_UNIX_NS,
            }
        )
        # The exporter's own messages, a line for each retry, say no more than the one line below.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = OTLPSpanExporter(timeout=EXPORT_TIMEOUT_S)
        self._calls: queue.Queue[list[Trace] | None] = queue.Queue(MAX_CALLS)
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="otlp-export", daemon=True)
        self._thread.start()

    def put(self, traces: list[Trace]) -> None:
        """Queue a finished call; return at once."""
        try:
            self._calls.put_nowait(traces)
        except queue.Full:
            self._count_lost(
                sum(len(trace.spans) for trace in traces), f"{MAX_CALLS} calls are waiting for the receiver"
            )

    def close(self) -> None:
        """Send what is waiting; give up after `FLUSH_S`. It blocks: call it off the event loop."""
        with contextlib.suppress(queue.Full):
            self._calls.put(None, timeout=FLUSH_S / 4)
        self._thread.join(FLUSH_S)
        if self._thread.is_alive():
            _log.error("spans of the last calls were not delivered: the OTLP receiver does not answer")
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK's own, unannotated

    def _work(self) -> None:
        while (traces := self._calls.get()) is not None:
            spans = [span for trace in traces for span in _readable(trace, self._resource)]
            for start in range(0, len(spans), BATCH_SPANS):
                self._export(spans[start : start + BATCH_SPANS])

    def _export(self, spans: list[ReadableSpan]) -> None:
        try:
            sent = self._exporter.export(spans) is SpanExportResult.SUCCESS
            why = "the OTLP receiver refused them or does not answer; check OTEL_EXPORTER_OTLP_ENDPOINT"
        except Exception as error:  # noqa: BLE001  # whatever the exporter raises, the agent keeps answering
            sent, why = False, f"{type(error).__name__}: {' '.join(str(error).split())}"
        if sent:
            self._failing = False
        else:
            self._count_lost(len(spans), why)

    def _count_lost(self, spans: int, why: str) -> None:
        self.lost_spans += spans
        if not self._failing:
            _log.error("%d spans were not delivered: %s", spans, why)
        self._failing = True


def make_exporter(profile: str) -> SpanExporter | None:
    """Return an exporter if the environment names a receiver, else None."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return SpanExporter(profile) if any(os.environ.get(name) for name in names) else None


def _readable(trace: Trace, resource: Resource) -> Iterable[ReadableSpan]:
    sampled = TraceFlags(TraceFlags.SAMPLED)
    root = SpanContext(trace.trace_id, trace.span_id, is_remote=False, trace_flags=sampled)
    above = SpanContext(trace.trace_id, trace.parent_id, is_remote=False, trace_flags=sampled)
    for index, span in enumerate(trace.spans):
        own = SpanContext(trace.trace_id, secrets.randbits(64) or 1, is_remote=False, trace_flags=root.trace_flags)
        yield ReadableSpan(
            name=span.name,
            context=root if index == 0 else own,
            parent=root if index else above if trace.parent_id else None,
            resource=resource,
            attributes=_attributes(span),
            kind=SpanKind.INTERNAL,
            start_time=span.start_ns + clock.ANCHOR_UNIX_NS,
            end_time=span.end_ns + clock.ANCHOR_UNIX_NS,
        )


def _attributes(span: Span) -> dict[str, AttributeValue]:
    return {
        tracing.START_NS: span.start_ns,
        tracing.END_NS: span.end_ns,
        tracing.CALL_SID: span.call_sid,
        tracing.TURN: span.turn,
        tracing.ATTEMPT: span.attempt,
        **span.attributes,
    }
