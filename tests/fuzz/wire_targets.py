"""Targets on the wire: messages of both sides in all dialects, signatures, nonces, forms, webhooks' answers, spans."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from turngap.caller.dialects import AgentAudio, AgentMark, StreamNames
from turngap.caller.dialects.answer import read_answer
from turngap.caller.dialects.audio import AudioDecoder
from turngap.caller.dialects.registry import DIALECTS, SIP, make_dialect
from turngap.caller.long_message import JOINED_BYTES, LongMessage
from turngap.caller.websocket_frames import FrameSplitter
from turngap.processes.span_receiver import describe_missing, parse_foreign_row, parse_row
from turngap.processes.span_server import Wanted, decompress, parse_request
from turngap.spans.foreign import read_turn
from turngap.spans.mapping import load_mapping
from turngap_agent import tracing
from turngap_agent.errors import ProtocolError
from turngap_agent.server.admission import NONCE_PARAMETER, Admission, RequestUrl
from turngap_agent.telephony import script, signature
from turngap_agent.telephony.messages import (
    Clear,
    Connected,
    Dtmf,
    InboundMark,
    InboundMedia,
    OutboundMark,
    OutboundMedia,
    Start,
    Stop,
)
from turngap_agent.telephony.parsing import parse_inbound, parse_outbound

from tests.fuzz.target import Target

_FRAME = b"\xff" * 160
_TOKEN = "0123456789abcdef0123456789abcdef"


def _inbound(data: bytes, _: Path) -> None:
    parse_inbound(data.decode("utf-8", "replace"))


def _outbound(data: bytes, _: Path) -> None:
    parse_outbound(data.decode("utf-8", "replace"))


def _script(data: bytes, _: Path) -> None:
    try:
        parameters = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(parameters, dict):
        script.parse_parameters({str(key): str(value) for key, value in parameters.items()})


def _signature(data: bytes, _: Path) -> None:
    """Parts between lines: scheme, path, query, host, forwarded scheme and host, signature, settings, then the form."""
    *parts, body = (data.split(b"\n", 8) + [b""] * 9)[:9]
    texts = [part.decode("latin-1") for part in parts]
    names = ("host", "x-forwarded-proto", "x-forwarded-host", signature.HEADER, signature.SETTINGS_HEADER)
    url = RequestUrl.read(*texts[:3], dict(zip(names, texts[3:], strict=True)))
    door = Admission(1, _TOKEN)
    for check in (lambda: door.check_webhook(url, body), lambda: door.check_upgrade(url)):
        try:
            check()
        except ProtocolError:
            continue
        raise AssertionError("a signature that nobody made was taken")
    try:
        door.check_nonce({NONCE_PARAMETER: texts[6]}, texts[7])
    except ProtocolError:
        return
    raise AssertionError("a nonce that nobody made was taken")


def _dialect(name: str) -> Target:
    def read(data: bytes, _: Path) -> None:
        side = make_dialect(name, StreamNames("MZ1", "CA1", "AC1", 120))
        text = data.decode("utf-8", "replace")
        long = LongMessage([text[:2000], "A" * JOINED_BYTES, text[2000:]])
        for message in (text, data, long):
            try:
                event, _warnings = side.parse(message)
                if isinstance(event, AgentAudio):
                    for piece in AudioDecoder().pieces(event.payload, event.format, continues=False):
                        assert piece.dtype == "int16"
                elif isinstance(event, AgentMark):
                    side.mark_message(event.name)
            except ProtocolError as error:
                assert str(error)  # noqa: PT017

    def seeds() -> Sequence[bytes]:
        twilio = [
            one.to_json() for one in (OutboundMedia("MZ1", _FRAME), OutboundMark("MZ1", "turn-0-1"), Clear("MZ1"))
        ]
        others: list[Any] = [
            {"event": "media", "stream_id": "MZ1", "media": {"payload": "/////w=="}},
            {"event": "mark", "mark": {"name": "a"}},
            {"event": "playAudio", "media": {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": "////"}},
            {"event": "checkpoint", "streamId": "MZ1", "name": "a"},
            {"event": "clearAudio", "streamId": "MZ1"},
            {"action": "notify", "payload": {"a": {"b": [1, None]}}},
            {"action": "clear"},
        ]
        return [*map(str.encode, twilio), *(json.dumps(one).encode() for one in others), b"\x00\x01" * 160]

    return Target(f"agent-messages-{name}", f"what an agent sends, dialect {name}", read, seeds, "json")


def _answer(data: bytes, _: Path) -> None:
    read_answer(data.decode("utf-8", "replace"), "http://127.0.0.1/voice")


def _frames(data: bytes, _: Path) -> None:
    splitter = FrameSplitter(1 << 20)
    for at in range(0, len(data), 7):
        try:
            splitter.feed(data[at : at + 7])
            while splitter.next_piece() is not None:
                pass
        except ProtocolError:
            return


def _spans(data: bytes, _: Path) -> None:
    wanted = Wanted(load_mapping("pipecat").used_names, other_boots=True)
    bodies = [data]
    for encoding in ("gzip", "deflate"):
        try:
            bodies.append(decompress(data, encoding))
        except ValueError:
            continue
    for body in bodies:
        try:
            rows = json.loads(json.dumps(parse_request(body, "boot", wanted, 5).rows))
        except DecodeError:
            continue
        describe_missing(parse_row(row) for row in rows if "foreign" not in row)
        foreign = [parse_foreign_row(row) for row in rows if "foreign" in row]
        for mapping in map(load_mapping, ("pipecat", "livekit")):
            read_turn(foreign, mapping, speech_ns=0, heard_from_ns=10, received_ns=10**12)


def make_request_body(**values: Any) -> bytes:
    """Return a request with spans of our agent and of another framework's; `values` are the first one's attributes."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    pair = resource.resource.attributes.add()
    pair.key, pair.value.string_value = tracing.BOOT_ID, "boot"
    spans = resource.scope_spans.add().spans
    own = spans.add(name="turn", trace_id=b"t" * 16, span_id=b"s" * 8, start_time_unix_nano=10, end_time_unix_nano=20)
    given = {tracing.START_NS: 10, tracing.END_NS: 20, tracing.CALL_SID: "CA1", tracing.TURN: 0, tracing.ATTEMPT: 1}
    for key, value in (given | values).items():
        pair = own.attributes.add()
        pair.key = key
        setattr(pair.value, {str: "string_value", int: "int_value", float: "double_value"}[type(value)], value)
    for name in sorted(load_mapping("pipecat").used_names):
        other = spans.add(name=name, trace_id=b"u" * 16, start_time_unix_nano=10, end_time_unix_nano=30)
        for key in ("metrics.ttfb", "transcript"):
            pair = other.attributes.add()
            pair.key, pair.value.double_value = key, 0.25
    return request.SerializeToString()


def _inbound_seeds() -> Sequence[bytes]:
    messages = (
        Connected(),
        Start("MZ1", "CA1", "AC1"),
        InboundMedia("MZ1", 3, 2, 40, _FRAME),
        InboundMark("MZ1", 4, "turn-0-1"),
        Dtmf("MZ1", 5, "1"),
        Stop("MZ1", 6, "AC1", "CA1"),
    )
    return [message.to_json().encode() for message in messages]


def _signature_seeds() -> Sequence[bytes]:
    url = "https://agent.example/twilio/voice"
    lines = [
        "http",
        "/twilio/voice",
        "",
        "agent.example",
        "https",
        "agent.example:443",
        signature.sign("x", url),
        "",
        "CallSid=CA1&From=%2B1",
    ]
    return ["\n".join(lines).encode(), b"ws\n/twilio/media\na=b\n[::1]:80\n\n\nAAAA\nalgorithm=HMAC_SHA256\n"]


def _answer_seeds() -> Sequence[bytes]:
    ncco = [{"action": "connect", "endpoint": [{"type": "websocket", "uri": "wss://a/b", "headers": {"a": "b"}}]}]
    return [
        b'<Response><Connect><Stream url="wss://a/b"><Parameter name="a" value="b"/></Stream></Connect></Response>',
        b'<Response><Stream bidirectional="true" extraHeaders="a=1,b=2">wss://a/b</Stream></Response>',
        json.dumps(ncco).encode(),
    ]


WIRE_TARGETS = (
    Target("caller-messages", "what a caller sends to the agent's server", _inbound, _inbound_seeds, "json"),
    Target(
        "twilio-messages",
        "what an agent sends, as the server's own parser reads it",
        _outbound,
        lambda: [
            one.to_json().encode() for one in (OutboundMedia("MZ1", _FRAME), OutboundMark("MZ1", "a"), Clear("MZ1"))
        ],
        "json",
    ),
    Target("call-script", "custom parameters of a call", _script, lambda: [b'{"turn-0": "14 Are you open?"}'], "json"),
    Target("signatures", "URL, headers and form of a webhook and an upgrade", _signature, _signature_seeds),
    *map(_dialect, (*DIALECTS, SIP)),
    Target("webhook-answers", "what an agent's webhook answers", _answer, _answer_seeds),
    Target(
        "websocket-frames",
        "bytes of an agent's socket",
        _frames,
        lambda: [b"\x81\x05hello\x82\x7e\x00\x80" + bytes(128), b"\x89\x00\x88\x02\x03\xe8"],
    ),
    Target(
        "spans", "OTLP requests to the span receiver", _spans, lambda: [make_request_body(), make_request_body(a=0.5)]
    ),
)
