"""Every way a call can end: by the agent, by the caller, by an error, and before it starts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from turngap.caller.call import place_call
from turngap.caller.connection import Connection
from turngap.caller.scheduler import Scheduler
from turngap.model.records import CallEnd, CallRecord, Spoken
from turngap.scenario import PlannedCall
from websockets.asyncio.server import ServerConnection, serve

from tests.harness.caller.calls import FastClock, Json, answering, call, clip, refused, turn


def test_an_agent_that_hangs_up_in_mid_call_is_recorded() -> None:
    """AGENT_CLOSED, with when, where and the close code; the audio of both sides until then is kept."""

    async def leave(socket: ServerConnection, log: list[Json]) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["event"] == "media" and message["media"]["chunk"] == "12":
                await socket.close(1011, "out of memory")

    record, _ = call(leave)
    assert record.end is CallEnd.AGENT_CLOSED
    assert "in turn 'a'" in record.detail
    assert "1011" in record.detail
    assert "out of memory" in record.detail
    assert len(record.sent_ns) >= 12
    assert len(record.spoken) == 1


def test_a_broken_websocket_ends_the_call() -> None:
    """A frame that no WebSocket has is Twilio's 31924."""

    async def break_connection(socket: ServerConnection, log: list[Json]) -> None:
        await socket.recv()
        socket.transport.write(b"\x83\x00")
        await socket.wait_closed()

    record, _ = call(break_connection)
    assert record.end is CallEnd.AGENT_CLOSED
    assert "31924" in record.detail


def test_an_agent_that_dies_is_recorded() -> None:
    """A socket that breaks without a close message is AGENT_CLOSED too."""

    async def die(socket: ServerConnection, log: list[Json]) -> None:
        await socket.recv()
        socket.transport.abort()

    record, _ = call(die)
    assert record.end is CallEnd.AGENT_CLOSED
    assert "before the first turn" in record.detail


def test_http_answers_instead_of_an_upgrade_are_refusals() -> None:
    """404 and 403 name the status, Twilio's code and what to look at, in one line."""
    for status, hint in ((HTTPStatus.NOT_FOUND, "path"), (HTTPStatus.FORBIDDEN, "TWILIO_AUTH_TOKEN")):
        record, log = call(
            answering, process_request=lambda socket, request, status=status: socket.respond(status, "no\n")
        )
        assert record.end is CallEnd.REFUSED
        assert record.detail.startswith("ws://127.0.0.1:")
        assert "31920" in record.detail
        assert f"HTTP {status.value}" in record.detail
        assert hint in record.detail
        assert "\n" not in record.detail
        assert log == []


def test_a_server_that_is_no_agent_is_one_error_line() -> None:
    """Nobody there, a URL that is none, a name that does not resolve."""
    for url, code in (
        ("ws://127.0.0.1:9/twilio/media", "31902"),
        ("http://127.0.0.1:9/", "31923"),
        ("nonsense", "31923"),
        ("ws://127.0.0.1:99999/", "319"),
    ):
        record = refused(url)
        assert record.end is CallEnd.REFUSED
        assert code in record.detail
        assert not record.detail.startswith(code)  # the sentence is first
        assert "\n" not in record.detail
        assert len(record.sent_ns) == 0


def test_a_server_of_another_kind_is_refused() -> None:
    """It speaks first, says nothing that is HTTP, hangs up at once, or speaks no TLS: one line each."""

    async def main(greeting: bytes, scheme: str) -> CallRecord:
        async def serve_other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(greeting)
            await reader.read(10)
            writer.close()

        clock = FastClock()
        server = await asyncio.start_server(serve_other, "127.0.0.1", 0)
        async with server, Scheduler(clock).running() as scheduler:
            url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            planned = PlannedCall(0, (turn(),), probe=False)
            return await place_call(url, planned, {"a": clip()}, clock=clock, scheduler=scheduler, seed=1)

    for greeting, scheme, code in (
        (b"SSH-2.0-x\r\n", "ws", "31924"),
        (b"", "ws", "31903"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "ws", "31920"),
        (b"plain text", "wss", "31902"),
    ):
        record = asyncio.run(main(greeting, scheme))
        assert record.end is CallEnd.REFUSED
        assert code in record.detail
        assert "\n" not in record.detail


def test_cancelling_returns_the_record_so_far() -> None:
    """Ctrl-C in mid-call: INTERRUPTED, frames and audio kept, and the agent receives `stop`."""
    record, log = call(answering, cancel_after=20)
    assert record.end is CallEnd.INTERRUPTED
    assert len(record.sent_ns) >= 18
    assert log[-1]["event"] == "stop"


def place_one(
    monkeypatch: pytest.MonkeyPatch, on_close: Callable[[asyncio.Task[Any]], None], **keys: Any
) -> tuple[CallRecord | Exception, list[str]]:
    """Place a call whose socket tells when it begins and ends to close; `on_close` is called between."""
    closes: list[str] = []
    close = Connection.close

    async def main() -> CallRecord | Exception:
        async def close_slowly(self: Connection) -> None:
            closes.append("begun")
            on_close(task)
            await asyncio.sleep(0)
            await close(self)
            closes.append("done")

        monkeypatch.setattr(Connection, "close", close_slowly)
        clock = FastClock()
        async with (
            serve(lambda socket: answering(socket, []), "127.0.0.1", 0) as server,
            Scheduler(clock).running() as scheduler,
        ):
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/twilio/media"
            planned = PlannedCall(7, (turn(),), probe=True)
            task = asyncio.create_task(
                place_call(url, planned, {"a": clip()}, clock=clock, scheduler=scheduler, seed=1, **keys)
            )
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            if not isinstance(outcome, (CallRecord, Exception)):
                raise outcome
            return outcome

    return asyncio.run(main()), closes


def test_cancelling_while_the_call_closes_keeps_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is over is COMPLETED even if the cancellation arrives before its socket is closed, and it closes."""
    record, closes = place_one(monkeypatch, lambda task: task.cancel() and None)
    assert isinstance(record, CallRecord)
    assert record.end is CallEnd.COMPLETED
    assert closes == ["begun", "done"]


def test_a_callback_that_fails_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception is raised by the call, after its socket has been closed."""

    def fails(call_sid: str, turn: int, spoken: Spoken) -> None:
        raise RuntimeError("no room")

    fault, closes = place_one(monkeypatch, lambda task: None, on_spoken=fails)
    assert isinstance(fault, RuntimeError)
    assert closes == ["begun", "done"]


def test_a_dropped_call_ends_without_a_stop() -> None:
    """The socket is gone; the caller's record is that of a call that ended as planned."""
    record, log = call(answering, hang_up="drop")
    assert record.end is CallEnd.COMPLETED, record.detail
    assert "stop" not in {message["event"] for message in log}
