"""What a webhook answers tells the dialect, the socket and its parameters; anything else is one line."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.dialects import answer
from turngap.caller.dialects.answer import Answer, fetch_answer, read_answer
from turngap_agent.errors import AgentError, UsageError

TWIML = (
    '<?xml version="1.0"?><Response><Connect><Stream url="wss://a.example/media">'
    '<Parameter name="nonce" value="7"/></Stream></Connect></Response>'
)
TEXML = (
    '<Response><Connect><Stream url="wss://a.example/t" bidirectionalMode="rtp" bidirectionalCodec="PCMU"/>'
    "</Connect></Response>"
)
PLIVO = '<Response><Stream bidirectional="true" extraHeaders="a=1,b=2"> wss://a.example/p </Stream></Response>'
NCCO = (
    '[{"action":"talk","text":"hi"},{"action":"connect","endpoint":[{"type":"websocket","uri":"wss://a.example/v",'
    '"content-type":"audio/l16;rate=%s","headers":{"age":40}}]}]'
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (TWIML, Answer("twilio", "wss://a.example/media", {"nonce": "7"})),
        (TEXML, Answer("telnyx", "wss://a.example/t")),
        (PLIVO, Answer("plivo", "wss://a.example/p", {"a": "1", "b": "2"})),
        (NCCO % 16000, Answer("vonage", "wss://a.example/v", {"age": "40"})),
        (NCCO % 8000, Answer("vonage-8khz", "wss://a.example/v", {"age": "40"})),
    ],
)
def test_each_platforms_answer_is_recognised(text: str, answer: Answer) -> None:
    """Dialect, socket and parameters."""
    assert read_answer(text, "http://agent/") == answer


@pytest.mark.parametrize(
    "text", ["", "hello", "<Response/>", "[]", "{", '[{"endpoint": 3}]', "<!DOCTYPE a><Response/>", " " * 70_000]
)
def test_another_answer_is_one_line(text: str) -> None:
    """With what was expected."""
    with pytest.raises(UsageError, match="expected TwiML, TeXML or Plivo XML"):
        read_answer(text, "http://agent/")
    with pytest.raises(UsageError, match="no ws:// or wss:// URL"):
        read_answer('<Response><Stream url="https://a"/></Response>', "http://agent/")


@given(st.text(max_size=200))
def test_any_answer_is_read_or_refused(text: str) -> None:
    """As a mistake of the user's, and no other error."""
    with pytest.raises(UsageError):
        read_answer(text, "http://agent/")


@contextmanager
def serve(methods: dict[str, tuple[int, str]]) -> Iterator[str]:
    """A webhook that answers each method with a status and a text."""

    class Webhook(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            status, text = methods.get(self.command, (405, ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Webhook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/voice"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_webhook_is_asked_by_post_and_then_by_get() -> None:
    """Vonage asks by GET; an agent may take no other method."""
    with serve({"POST": (200, TWIML)}) as url:
        assert fetch_answer(url).dialect == "twilio"
    with serve({"GET": (200, NCCO % 16000)}) as url:
        assert fetch_answer(url).dialect == "vonage"


def test_a_webhook_that_fails_is_one_line() -> None:
    """With its status, or why it can't be reached: exit code 2, as for a socket; what is no URL is the user's error."""
    with serve({"POST": (500, "")}) as url, pytest.raises(AgentError, match="HTTP 500"):
        fetch_answer(url)
    with pytest.raises(AgentError, match="cannot be reached") as caught:
        fetch_answer("http://127.0.0.1:9/voice")
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="no URL of a webhook"):
        fetch_answer("http://127.0.0.1:9x/voice")


def test_a_webhook_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole answer has a time, not only each piece of it."""

    class DrippingClock:
        at_ns = 0

        def now_ns(self) -> int:
            self.at_ns += 6_000_000_000
            return self.at_ns

    monkeypatch.setattr(answer, "SystemClock", DrippingClock)
    monkeypatch.setattr(answer, "MAX_BYTES", 64)
    with serve({"POST": (200, "x" * 200)}) as url, pytest.raises(AgentError, match="more than 10 s"):
        fetch_answer(url)
