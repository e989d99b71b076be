"""Spans over OTLP/HTTP, sent by the real exporter: each once, only ours, and whole or known not to be."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from turngap.clock import SystemClock
from turngap.processes import span_receiver
from turngap.processes.span_receiver import SpanReceiver
from turngap.spans.mapping import load_mapping
from turngap_agent import tracing
from turngap_agent.errors import UsageError
from turngap_agent.tracing import Span

from tests.harness.builders import Call


def otel_span(name: str, call_sid: str, turn: int, attempt: int, boot: str | None = None, **more: Any) -> ReadableSpan:
    """A finished span as an agent makes it."""
    resource = Resource({tracing.BOOT_ID: tracing.read_boot_id() if boot is None else boot})
    attributes = {
        tracing.START_NS: 10**9 + 7,
        tracing.END_NS: 2 * 10**9 + 9,
        tracing.CALL_SID: call_sid,
        tracing.TURN: turn,
        tracing.ATTEMPT: attempt,
    }
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    span = provider.get_tracer("agent").start_span(name, attributes=attributes | more, start_time=1)
    span.end(end_time=2)
    assert isinstance(span, ReadableSpan)
    return span


def whole_call(call_sid: str) -> list[ReadableSpan]:
    """One turn of one attempt with two spans, and the call's own."""
    return [
        otel_span("turngap.encoding", call_sid, 0, 0),
        otel_span(tracing.TURN_SPAN, call_sid, 0, 0, **{tracing.SPANS: 2, tracing.ARRIVALS_NS: (5, 6)}),
        otel_span(tracing.CALL_SPAN, call_sid, 0, 0, **{tracing.ATTEMPTS: 1}),
    ]


def send(endpoint: str, batch: list[ReadableSpan], compression: Compression = Compression.NoCompression) -> None:
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", compression=compression)
    assert exporter.export(batch) is SpanExportResult.SUCCESS
    exporter.shutdown()


def received(tmp_path: Path, scenario: Callable[[SpanReceiver], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        receiver = await SpanReceiver.start(tmp_path / "spans.jsonl", **options)
        try:
            return await scenario(receiver)
        finally:
            await receiver.stop()

    return asyncio.run(run())


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_a_whole_call_arrives_exactly(tmp_path: Path, compression: Compression) -> None:
    """Times, join key and tuples are unchanged, compressed or not, and are in the file too."""

    async def scenario(receiver: SpanReceiver) -> span_receiver.CollectedSpans:
        await asyncio.to_thread(send, receiver.endpoint, whole_call("CA1"), compression)
        return await receiver.collect("CA1", 10)

    got = received(tmp_path, scenario)
    assert got.note == ""
    turn = next(span for span in got.spans if span.name == tracing.TURN_SPAN)
    attributes = {tracing.SPANS: 2, tracing.ARRIVALS_NS: (5, 6)}
    assert turn == Span(tracing.TURN_SPAN, 10**9 + 7, 2 * 10**9 + 9, "CA1", 0, 0, attributes)
    lines = (tmp_path / "spans.jsonl").read_text().splitlines()
    assert [span_receiver.parse_row(json.loads(line)) for line in lines] == list(got.spans)


def test_a_span_sent_twice_counts_once(tmp_path: Path) -> None:
    """An exporter that retries does not double a turn's spans, and the repeats are reported."""

    async def scenario(receiver: SpanReceiver) -> tuple[span_receiver.CollectedSpans, SpanReceiver]:
        batch = whole_call("CA1")
        await asyncio.to_thread(send, receiver.endpoint, batch[:2])
        await asyncio.to_thread(send, receiver.endpoint, batch)
        return await receiver.collect("CA1", 10), receiver

    got, receiver = received(tmp_path, scenario)
    assert len(got.spans) == 3
    assert receiver.unused_span_notes() == ("spans: 2 arrived twice, and count once",)  # whole once it has been stopped


def test_spans_of_other_calls_wait_for_their_own_collect(tmp_path: Path) -> None:
    """Two calls at once do not see each other's spans, in whatever order they come."""

    async def scenario(receiver: SpanReceiver) -> tuple[span_receiver.CollectedSpans, span_receiver.CollectedSpans]:
        await asyncio.to_thread(send, receiver.endpoint, whole_call("CA2") + whole_call("CA1"))
        return await receiver.collect("CA1", 10), await receiver.collect("CA2", 10)

    one, two = received(tmp_path, scenario)
    assert {span.call_sid for span in one.spans} == {"CA1"}
    assert {span.call_sid for span in two.spans} == {"CA2"}


def test_foreign_spans_are_counted_and_left_out(tmp_path: Path) -> None:
    """Spans without our attributes (a web framework's own) are not an agent's stages."""

    async def scenario(receiver: SpanReceiver) -> tuple[span_receiver.CollectedSpans, SpanReceiver]:
        provider = TracerProvider(shutdown_on_exit=False)
        other = provider.get_tracer("web").start_span("GET /")
        other.end()
        assert isinstance(other, ReadableSpan)
        await asyncio.to_thread(send, receiver.endpoint, [other, *whole_call("CA1")])
        return await receiver.collect("CA1", 10), receiver

    got, receiver = received(tmp_path, scenario)
    assert len(got.spans) == 3
    assert receiver.counts["foreign"] == 1  # whole once it has been stopped


def test_spans_of_another_boot_are_refused_and_reported(tmp_path: Path) -> None:
    """Monotonic times of another host mean nothing here: the note says why there are no stages."""

    async def scenario(receiver: SpanReceiver) -> span_receiver.CollectedSpans:
        batch = [otel_span(tracing.CALL_SPAN, "CA1", 0, 0, boot="elsewhere", **{tracing.ATTEMPTS: 0})]
        await asyncio.to_thread(send, receiver.endpoint, batch)
        await asyncio.to_thread(send, receiver.endpoint, whole_call("CA2"))
        await receiver.collect("CA2", 10)
        return await receiver.collect("CA1", 0)

    got = received(tmp_path, scenario)
    assert got.spans == ()
    assert "another host or boot" in got.note


def test_a_request_that_is_no_otlp_is_answered_and_survived(tmp_path: Path) -> None:
    """Garbage, a wrong path and a wrong type get 400, 404 and 415; the receiver continues."""

    def status(url: str, content_type: str, encoding: str = "") -> int:
        headers = {"Content-Type": content_type, "Content-Encoding": encoding}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, b"\xff\xffgarbage", headers)) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    async def scenario(receiver: SpanReceiver) -> tuple[list[int], span_receiver.CollectedSpans]:
        url, protobuf = receiver.endpoint, "application/x-protobuf"
        statuses = [
            await asyncio.to_thread(status, f"{url}/v1/traces", protobuf),
            await asyncio.to_thread(status, f"{url}/v1/traces", protobuf, "gzip"),
            await asyncio.to_thread(status, f"{url}/v1/traces", protobuf, "br"),
            await asyncio.to_thread(status, f"{url}/v1/metrics", protobuf),
            await asyncio.to_thread(status, f"{url}/v1/traces", "application/json"),
        ]
        await asyncio.to_thread(send, receiver.endpoint, whole_call("CA1"))
        return statuses, await receiver.collect("CA1", 10)

    statuses, got = received(tmp_path, scenario)
    assert statuses == [400, 400, 400, 404, 415]
    assert got.note == ""


def test_a_lost_span_is_noticed(tmp_path: Path) -> None:
    """A turn that says it has more spans than arrived is given as incomplete, with the numbers."""

    async def scenario(receiver: SpanReceiver) -> span_receiver.CollectedSpans:
        await asyncio.to_thread(send, receiver.endpoint, whole_call("CA1")[1:])
        await asyncio.to_thread(send, receiver.endpoint, whole_call("CA2"))
        await receiver.collect("CA2", 10)  # what was sent before has come by then
        return await receiver.collect("CA1", 0)

    got = received(tmp_path, scenario)
    assert got.note == "1 of 2 spans of turn 0, attempt 0 arrived"
    assert len(got.spans) == 2


def test_an_agent_without_spans_is_waited_for_only_twice(tmp_path: Path) -> None:
    """The first two silent calls take the whole timeout; the following ones do not."""

    async def scenario(receiver: SpanReceiver) -> list[str]:
        notes = [(await receiver.collect(call_sid, 0.01)).note for call_sid in ("CA1", "CA2")]
        async with asyncio.timeout(30):
            notes.append((await receiver.collect("CA3", 3600)).note)
        return notes

    assert received(tmp_path, scenario) == ["the agent sent no spans"] * 3


@pytest.mark.parametrize("first", [["CA0"], []])
def test_an_agent_that_once_sent_spans_has_the_whole_wait(
    tmp_path: Path, first: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After silent calls, one or many, spans that come later than the short wait are still taken."""
    monkeypatch.setattr(span_receiver, "SILENT_AGENT_TIMEOUT_S", 0.0)

    async def scenario(receiver: SpanReceiver) -> span_receiver.CollectedSpans:
        for call_sid in first:
            await asyncio.to_thread(send, receiver.endpoint, whole_call(call_sid))
            await receiver.collect(call_sid, 10)
        for call_sid in ("CA1", "CA2", "CA3")[: 3 if first else 1]:
            await receiver.collect(call_sid, 0.01)
        waiting = asyncio.create_task(receiver.collect("CA4", 30))
        await asyncio.sleep(0)
        await asyncio.to_thread(send, receiver.endpoint, whole_call("CA4"))
        return await waiting

    assert received(tmp_path, scenario).note == ""


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    """The message names the option, the port and the remedy."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError) as caught:
            asyncio.run(SpanReceiver.start(tmp_path / "spans.jsonl", port))
    assert str(caught.value) == f"--otlp-port {port}: Address already in use; give another port, or 0 for a free one"


def test_missing_turn_spans_are_counted() -> None:
    """A call span that counts more attempts than arrived makes the call incomplete."""
    call = Span(tracing.CALL_SPAN, 0, 1, "CA1", 0, 0, {tracing.ATTEMPTS: 2})
    turn = Span(tracing.TURN_SPAN, 0, 1, "CA1", 0, 0, {tracing.SPANS: 1})
    assert span_receiver.describe_missing([call, turn]) == "1 of 2 turn spans arrived"
    assert span_receiver.describe_missing([turn]) == "the call's own span is missing"


def foreign_span(name: str, call_sid: str | None = None) -> ReadableSpan:
    """A finished span of another framework, of now."""
    provider = TracerProvider(resource=Resource({"service.name": "theirs"}), shutdown_on_exit=False)
    span = provider.get_tracer("theirs").start_span(name, attributes={} if call_sid is None else {"call_sid": call_sid})
    span.end()
    assert isinstance(span, ReadableSpan)
    return span


def test_spans_of_another_framework_are_the_calls_by_the_mapping(tmp_path: Path) -> None:
    """Those that the mapping names, on our clock; the call's own span completes them. The others are counted."""
    clock = SystemClock()

    async def scenario(receiver: SpanReceiver) -> span_receiver.CollectedSpans:
        began_ns = clock.now_ns()
        batch = [foreign_span("conversation", "CA7"), foreign_span("http.request")]
        await asyncio.to_thread(send, receiver.endpoint, batch)
        call = replace(Call().ends(1_000), call_sid="CA7", started_ns=began_ns, ended_ns=clock.now_ns())
        collected = await receiver.collect_for(call, 5.0)
        assert all(began_ns <= span.start_ns <= span.end_ns <= clock.now_ns() for span in collected.foreign)
        again = await receiver.collect_for(call, 0.1)
        assert again.foreign == ()
        assert again.note == "the agent sent no spans that mapping pipecat uses"
        return collected

    collected = received(tmp_path, scenario, mapping=load_mapping("pipecat"))
    assert [span.name for span in collected.foreign] == ["conversation"]
    assert collected.foreign[0].resource["service.name"] == "theirs"
    assert collected.note == ""
    assert json.loads((tmp_path / "spans.jsonl").read_text("utf-8"))["name"] == "conversation"


def test_a_call_whose_own_span_is_late_is_said(tmp_path: Path) -> None:
    """What has arrived is used, with a note."""

    async def scenario(receiver: SpanReceiver) -> span_receiver.CollectedSpans:
        await asyncio.to_thread(send, receiver.endpoint, [foreign_span("llm", "CA7")])
        return await receiver.collect_for(replace(Call().ends(1_000), call_sid="CA7"), 0.5)

    collected = received(tmp_path, scenario, mapping=load_mapping("pipecat"))
    assert [span.name for span in collected.foreign] == ["llm"]
    assert collected.note == "the span 'conversation', which ends with the call, did not arrive within 0.5 s"


def test_spans_of_our_agent_on_another_host_are_kept_on_request(tmp_path: Path) -> None:
    """They carry their boot, so that nobody takes their times for ours."""

    async def scenario(receiver: SpanReceiver) -> span_receiver.CollectedSpans:
        call = otel_span(tracing.CALL_SPAN, "CA1", 0, 0, boot="another", **{tracing.ATTEMPTS: 0})
        await asyncio.to_thread(send, receiver.endpoint, [call])
        return await receiver.collect("CA1", 5.0)

    collected = received(tmp_path, scenario, other_boots=True)
    assert [span.attributes[tracing.BOOT_ID] for span in collected.spans] == ["another"]


def test_foreign_spans_are_searched_again_only_for_what_ends_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty spans of a call that is under way say nothing of its end."""
    searched: list[int] = []
    select = span_receiver.select_call_spans
    monkeypatch.setattr(
        span_receiver,
        "select_call_spans",
        lambda call, spans, mapping: (searched.append(1), select(call, spans, mapping))[1],
    )

    async def scenario(receiver: SpanReceiver) -> span_receiver.CollectedSpans:
        began_ns = SystemClock().now_ns()
        call = replace(Call().ends(1_000), call_sid="CA7", started_ns=began_ns, ended_ns=began_ns + 10**9)
        waiting = asyncio.create_task(receiver.collect_for(call, 10.0))
        for _ in range(40):
            await asyncio.to_thread(send, receiver.endpoint, [foreign_span("stt")])
        await asyncio.to_thread(send, receiver.endpoint, [foreign_span("conversation", "CA7")])
        return await waiting

    collected = received(tmp_path, scenario, mapping=load_mapping("pipecat"))
    assert collected.note == ""
    assert len(searched) <= 4
