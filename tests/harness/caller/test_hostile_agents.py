"""A hostile agent costs its own call and no other: work for what it sends is bounded, and floods end the call.

How late a neighbour becomes is measured by `benchmarks/hostile_agents.py`; here it is what is done, in which portions.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import numpy as np
import pytest
from turngap.caller import connection as connections
from turngap.caller.agent_messages import MARKS_AT_ONCE, AgentMessages
from turngap.caller.dialects import StreamNames
from turngap.caller.dialects.twilio import TwilioDialect
from turngap.caller.long_message import LongMessage
from turngap.caller.network_link import NetworkLink
from turngap.caller.playout import Playout
from turngap.caller.reply_tracker import ReplyTracker
from turngap.caller.scheduler import Callback
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE, FakeClock
from turngap.model.records import CallEnd
from turngap.scenario import PlannedCall
from turngap.scoring.score import score_call
from websockets.asyncio.server import ServerConnection

from benchmarks import hostile_kinds
from tests.harness.caller.calls import Json, call, media, turn


class Timers:
    """Callbacks in the order of their deadlines, called one by one by the test."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.due: list[tuple[int, Callback]] = []

    def call_at(self, deadline_ns: int, callback: Callback) -> None:
        self.due.append((deadline_ns, callback))

    def fire(self) -> None:
        self.due.sort(key=lambda row: row[0])
        deadline_ns, callback = self.due.pop(0)
        self.clock.advance_ms(max(0, deadline_ns - self.clock.now_ns()) / NS_PER_MS)
        callback(deadline_ns)


class Line:
    """The messages of one call without a socket."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.timers = Timers(self.clock)
        self.playout = Playout()
        self.sent: list[Json] = []
        self.messages = AgentMessages(
            TwilioDialect(StreamNames("MZ", "CA", "AC", 100)),
            self.playout,
            NetworkLink(None, "seed", self.timers.call_at),
            clock=self.clock,
            call_at=self.timers.call_at,
            send=lambda message: self.sent.append(json.loads(message)),
            on_audio=lambda: None,
            on_hang_up=lambda at_ns: None,
        )

    def handle(self, message: str | LongMessage[str]) -> None:
        self.messages.handle(message, self.clock.now_ns())


STREAM: Json = {"streamSid": "MZ"}


def test_long_audio_is_decoded_a_second_at_a_time_and_recorded_as_one_message() -> None:
    """30 s in one message: in 31 steps with a second each; what comes meanwhile waits, and keeps its own time."""
    line = Line()
    line.handle(media(STREAM, bytes(8000 * 30)))
    came_ns = line.clock.now_ns()
    assert line.playout.received_count == 1
    line.clock.advance_ms(1)
    line.handle(json.dumps({"event": "mark", "streamSid": "MZ", "mark": {"name": "end"}}))
    assert line.playout.marks == ()
    steps = 0
    while line.playout.marks == ():
        line.timers.fire()
        steps += 1
    assert steps == 30  # the first was at once
    (message,) = line.playout.received
    assert (message.recv_ns, len(message.pcm), message.played_samples) == (came_ns, 240_000, 240_000)
    assert line.playout.marks[0].recv_ns == came_ns + NS_PER_MS


def test_a_message_of_megabytes_is_never_joined_and_is_told() -> None:
    """It is played as any other; the remedy is in the warning."""
    line = Line()
    text = media(STREAM, bytes(8000 * 300))
    line.handle(LongMessage([text[at : at + 16_384] for at in range(0, len(text), 16_384)]))
    while line.timers.due:
        line.timers.fire()
    assert line.playout.end_ns - line.playout.received[0].play_ns == 2_400_000 * NS_PER_SAMPLE
    (warning,) = line.messages.warnings
    assert "3.1 MiB" in warning
    assert "several messages" in warning


def test_marks_are_echoed_a_few_at_a_time() -> None:
    """2,000 marks that a clear releases come back in order, some in a step."""
    line = Line()
    line.handle(media(STREAM, bytes(4000)))
    for number in range(2000):
        line.handle(json.dumps({"event": "mark", "streamSid": "MZ", "mark": {"name": str(number)}}))
    assert line.sent == []
    line.handle(json.dumps({"event": "clear", "streamSid": "MZ"}))
    assert len(line.sent) == MARKS_AT_ONCE
    while line.timers.due:
        before = len(line.sent)
        line.timers.fire()
        assert len(line.sent) - before <= MARKS_AT_ONCE
    assert [message["mark"]["name"] for message in line.sent] == [str(number) for number in range(2000)]


def test_what_has_waited_is_handled_for_a_quarter_of_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind audio of 2 s: four short messages in a step, and fewer where one of them takes the step's time."""
    line = Line()
    line.handle(media(STREAM, bytes(16_000)))
    for number in range(40):
        line.handle(json.dumps({"event": "mark", "streamSid": "MZ", "mark": {"name": str(number)}}))
    line.timers.fire()  # the second of the two pieces
    counts = []
    for slow in (False, False, True, True):
        if slow:
            add_mark = line.playout.add_mark

            def add_slowly(name: str, recv_ns: int, add: Callable[[str, int], int] = add_mark) -> int:
                line.clock.advance_ms(0.15)
                return add(name, recv_ns)

            monkeypatch.setattr(line.playout, "add_mark", add_slowly)
        before = len(line.playout.marks)
        line.timers.fire()
        counts.append(len(line.playout.marks) - before)
    assert counts == [3, 4, 2, 1]  # the first step ends the audio too


def test_json_beside_the_audio_is_refused_by_its_length() -> None:
    """Without being parsed: a megabyte of objects or of brackets would hold a parser for tens of milliseconds."""
    line = Line()
    wide = json.dumps({"event": "media", "streamSid": "MZ", "more": [{"a": 1}] * 50_000, "media": {"payload": ""}})
    for text in (wide, "[" * 100_000, LongMessage(["[" * 16_384] * 100)):
        line.handle(text)
    assert line.playout.received == ()
    (warning,) = line.messages.warnings
    assert "KiB of JSON" in warning
    assert "31951" in warning
    assert "2 more" in warning


def test_an_onset_is_found_in_what_plays_now() -> None:
    """However much silence came before it or lies behind it, and as if all had been looked at."""
    playout, tracker = Playout(), None
    tracker = ReplyTracker(playout)
    tracker.expect_onset_from(1_000_000_000)
    silence, loud = np.zeros(8000, np.int16), np.full(8000, 8000, np.int16)
    for pcm in (silence, silence, loud, *[silence] * 300):
        playout.receive(pcm, 1_000_000_000)
    tracker.update()
    onset_ns = 3_000_000_000
    for now_ns in range(1_000_000_000, onset_ns, 20_000_000):
        assert tracker.find_onset_ns(now_ns) is None
    assert tracker.find_onset_ns(onset_ns) == onset_ns


@pytest.mark.parametrize(
    ("kind", "reason"), [("flood", "messages"), ("empty-frames", "messages"), ("pings", "messages")]
)
def test_a_flood_ends_the_call(kind: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As FLOODED, with what was too much; the turn has failed, and says so."""
    monkeypatch.setattr("turngap.caller.traffic.BURST_MESSAGES", 300)
    monkeypatch.setattr("turngap.caller.traffic.MESSAGES_PER_S", 10)

    async def flood(socket: ServerConnection, log: list[Json]) -> None:
        await hostile_kinds.KINDS[kind](socket)

    turns = (turn(),)
    record, _ = call(flood, turns)
    assert record.end is CallEnd.FLOODED
    assert reason in record.detail
    (scored,) = score_call(record, (), PlannedCall(7, turns, False), network_ms=0.0, cold=False) or [None]
    assert scored is not None
    assert scored.outcome == "failed"
    assert "more than the caller takes" in scored.detail


def test_a_message_that_is_too_long_is_told_and_the_call_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size is in the record, and audio after it is heard."""
    monkeypatch.setattr(connections, "MAX_MESSAGE_BYTES", 20_000)

    async def send(socket: ServerConnection, log: list[Json]) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["event"] == "media" and message["media"]["chunk"] == "30":
                await socket.send(media(message, bytes(30_000)))
                await socket.send(media(message))

    record, _ = call(send, probe=True)
    assert record.end is CallEnd.COMPLETED, record.detail
    assert record.refused_bytes == (len(media({"streamSid": record.stream_sid}, bytes(30_000))),)
    assert [len(message.pcm) for message in record.received] == [4000]
    assert any("was not read" in warning for warning in record.warnings)


def test_a_connection_handles_a_few_frames_in_a_turn_of_the_loop() -> None:
    """Between them the loop serves other calls; what waits is handled in its order, also after the other side left."""
    counts: list[int] = []

    async def main() -> list[str]:
        received: list[str] = []
        closed = asyncio.Event()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            import websockets.server

            protocol = websockets.server.ServerProtocol()
            protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
            (request,) = protocol.events_received()
            protocol.send_response(protocol.accept(request))  # type: ignore[arg-type]
            writer.writelines(protocol.data_to_send())
            for number in range(500):
                protocol.send_text(str(number).encode())
            writer.writelines(protocol.data_to_send())
            await writer.drain()
            writer.close()

        async def watch() -> None:
            while not closed.is_set():
                counts.append(len(received))
                await asyncio.sleep(0)

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        async with server:
            watching = asyncio.create_task(watch())
            connection = await connections.open_connection(
                f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/",
                {},
                clock=FakeClock(),
                on_message=lambda message, at_ns: received.append(str(message)),
                on_closed=lambda reason, at_ns: closed.set(),
            )
            await asyncio.wait_for(closed.wait(), 20)
            await watching
            await connection.close()
        return received

    assert asyncio.run(main()) == [str(number) for number in range(500)]
    assert max(np.diff(counts)) <= connections.SLICE_FRAMES
