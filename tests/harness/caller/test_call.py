"""A call over a real WebSocket to a small agent: messages, marks, clears, warnings, and every way it can end.

The caller's clock runs ten times as fast as the wall's, so that a call of seconds takes tenths.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Literal

import numpy as np
import pytest
from twilio.request_validator import RequestValidator
from websockets.asyncio.server import Request, Response, ServerConnection, serve

from harness.caller.call import place_call
from harness.caller.connection import Connection
from harness.caller.onset import find_onset
from harness.caller.playout import segments
from harness.caller.scheduler import Scheduler
from harness.clock import NS_PER_MS, NS_PER_SAMPLE
from harness.records import CallEnd, CallRecord, Clip, Spoken
from harness.scenario import CLEAN, Echo, Expectation, Line, PlannedCall, Turn
from pipeline.telephony import mulaw

SPEED = 10
Json = dict[str, Any]
Agent = Callable[[ServerConnection, list[Json]], Awaitable[None]]

TONE = mulaw.encode((np.sin(np.arange(4000) / 5) * 8000).astype(np.int16))


class FastClock:
    """The host's clock, ten times as fast."""

    def now_ns(self) -> int:
        return time.perf_counter_ns() * SPEED

    def unix_ns(self) -> int:
        return time.time_ns()

    async def sleep_until_ns(self, deadline_ns: int) -> None:
        while self.now_ns() < deadline_ns:  # noqa: ASYNC110  # a spin
            await asyncio.sleep(0)

    async def rest(self, duration_ns: int) -> None:
        await asyncio.sleep(duration_ns / SPEED / 1e9)


def clip(ms: int = 200) -> Clip:
    pcm = (np.sin(np.arange(ms * 8) / 3) * 6000).astype(np.int16)
    return Clip("clip", pcm, 0, "hello", 0, 0, "test", True)


def turn(key: str = "a", **keys: Any) -> Turn:
    return Turn.model_validate({"id": key, "say": "hello", "pause_ms": 100, **keys})


def media(message: Json, payload: bytes = TONE) -> str:
    coded = base64.b64encode(payload).decode()
    return json.dumps({"event": "media", "streamSid": message["streamSid"], "media": {"payload": coded}})


def loud(message: Json) -> bool:
    return bool(np.abs(mulaw.decode(base64.b64decode(message["media"]["payload"])).astype(int)).max() > 2000)


async def answering(socket: ServerConnection, log: list[Json]) -> None:
    """Says its tone 200 ms after each utterance, with a mark."""
    spoke, silent = False, 0
    async for text in socket:
        message = json.loads(text)
        log.append(message)
        if message["event"] == "media":
            is_loud = loud(message)
            spoke, silent = spoke or is_loud, 0 if is_loud else silent + 1
            if spoke and silent == 10:
                spoke = False
                await socket.send(media(message))
                name = {"name": f"end {message['sequenceNumber']}"}
                await socket.send(json.dumps({"event": "mark", "streamSid": message["streamSid"], "mark": name}))


def call(
    agent: Agent,
    turns: tuple[Turn, ...] = (turn(),),
    *,
    probe: bool = False,
    cancel_after: int | None = None,
    process_request: Callable[[ServerConnection, Request], Response | None] | None = None,
    auth_token: str | None = None,
    seed: int = 1,
    clips: dict[str, Clip] | None = None,
    line: Line = CLEAN,
    hang_up: Literal["stop", "drop"] = "stop",
) -> tuple[CallRecord, list[Json]]:
    """Place one call to `agent` on a free port; the answer has what the agent was sent, too."""
    log: list[Json] = []

    async def main() -> CallRecord:
        clock = FastClock()
        async with (
            serve(lambda socket: agent(socket, log), "127.0.0.1", 0, process_request=process_request) as server,
            Scheduler(clock).running() as scheduler,
        ):
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/twilio/media"
            said = clips or {one.key: clip() for one in turns}
            planned = PlannedCall(7, turns, probe, line=line, hang_up=hang_up)
            placed = place_call(
                url, planned, said, clock=clock, scheduler=scheduler, seed=seed, auth_token=auth_token or ""
            )
            task = asyncio.create_task(placed)
            if cancel_after is not None:
                while len(log) < cancel_after:  # noqa: ASYNC110  # what the agent has read is no event
                    await asyncio.sleep(0.001)
                task.cancel()
            return await asyncio.wait_for(task, 20)

    return asyncio.run(main()), log


def refused(url: str) -> CallRecord:
    async def main() -> CallRecord:
        clock = FastClock()
        async with Scheduler(clock).running() as scheduler:
            planned = PlannedCall(0, (turn(),), probe=False)
            return await place_call(url, planned, {"a": clip()}, clock=clock, scheduler=scheduler, seed=1)

    return asyncio.run(main())


def test_messages_come_in_twilios_order_with_its_numbers() -> None:
    """connected, start "1", media from "2" / chunk "1" / 100-170 ms on without a gap, stop last; numbers as strings."""
    record, log = call(answering, (turn("a"), turn("b")))
    assert record.end is CallEnd.COMPLETED, record.detail
    assert log[0] == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert log[1]["event"] == "start"
    assert log[1]["start"]["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    assert log[1]["start"]["tracks"] == ["inbound"]
    assert re.fullmatch("CA[0-9a-f]{32}", log[1]["start"]["callSid"])
    assert log[1]["start"]["callSid"] == record.call_sid
    numbered = [message["sequenceNumber"] for message in log[1:]]
    assert numbered == [str(n) for n in range(1, len(numbered) + 1)]
    frames = [message["media"] for message in log if message["event"] == "media"]
    assert log[2]["event"] == "media"
    assert [frame["chunk"] for frame in frames] == [str(n) for n in range(1, len(frames) + 1)]
    first = int(frames[0]["timestamp"])
    assert 100 <= first <= 170
    assert [int(frame["timestamp"]) for frame in frames] == [first + 20 * n for n in range(len(frames))]
    assert all(len(base64.b64decode(frame["payload"])) == 160 for frame in frames)
    assert [message["event"] for message in log].count("stop") == 1
    assert log[-1]["event"] == "stop"
    assert log[-1]["stop"]["callSid"] == record.call_sid
    assert {message["streamSid"] for message in log[1:]} == {record.stream_sid}


def test_what_was_sent_is_what_is_recorded() -> None:
    """The record's audio is the wire's, and the utterance stands in it where the record says."""
    record, log = call(answering)
    wire = b"".join(base64.b64decode(m["media"]["payload"]) for m in log if m["event"] == "media")
    assert mulaw.encode(record.caller_pcm) == wire
    assert len(record.caller_pcm) == len(record.sent_ns) * 160
    (spoken,) = record.spoken
    assert np.array_equal(record.caller_pcm[spoken.start_sample : spoken.end_sample], spoken.clip.pcm)
    assert spoken.start_sample * NS_PER_SAMPLE >= 100 * NS_PER_MS


def test_no_frame_leaves_before_it_is_complete() -> None:
    """Frame k leaves at started + (k + 1) * 20 ms or later, never earlier."""
    record, _ = call(answering)
    due = np.array([record.frame_due_ns(k) for k in range(len(record.sent_ns))])
    assert (record.sent_ns >= due).all()


def test_comfort_noise_goes_on_between_utterances() -> None:
    """Between utterances the line carries noise at -60 dBFS, never digital silence."""
    record, _ = call(answering)
    noise = record.caller_pcm[record.spoken[0].end_sample :].astype(float)
    assert -61 < 20 * np.log10(np.sqrt(np.mean(noise**2)) / 32768) < -59


def test_same_seed_same_call_other_seed_other_grid() -> None:
    """Noise, first timestamp and the place on the frame grid come from the seed alone."""
    (one, log_one), (two, log_two), (other, _) = call(answering), call(answering), call(answering, seed=2)
    assert log_one[2]["media"] == log_two[2]["media"]
    assert one.spoken[0].start_sample == two.spoken[0].start_sample
    assert not np.array_equal(one.caller_pcm[:160], other.caller_pcm[:160])


def test_reply_is_heard_and_the_next_turn_waits_for_its_end() -> None:
    """The second utterance begins at least 600 ms after the first reply's last sample."""
    record, _ = call(answering, (turn("a"), turn("b")))
    assert [spoken.utterance_id for spoken in record.spoken] == ["a", "b"]
    assert len(record.received) == 2
    end_of_first = record.received[0].play_ns + 4000 * NS_PER_SAMPLE
    assert record.sample_ns(record.spoken[1].start_sample) >= end_of_first + 600 * NS_PER_MS


def test_probe_hangs_up_half_a_second_after_the_answer_begins() -> None:
    """What is buffered then is not heard any more."""

    async def long_reply(socket: ServerConnection, log: list[Json]) -> None:
        async for text in socket:
            message = json.loads(text)
            log.append(message)
            if message["event"] == "media" and message["media"]["chunk"] == "30":
                await socket.send(media(message, TONE * 20))

    record, _ = call(long_reply, probe=True)
    onset = find_onset(segments(record.received), record.sample_ns(record.spoken[0].end_sample))
    assert onset is not None
    assert record.ended_ns - onset >= 500 * NS_PER_MS
    assert record.received[0].played_samples < 20 * 4000
    assert record.received[0].play_ns + record.received[0].played_samples * NS_PER_SAMPLE <= record.ended_ns


def test_an_agent_that_never_answers_is_waited_for_until_the_deadline() -> None:
    """Then the call goes on to its next turn, and ends as planned."""

    async def silent(socket: ServerConnection, log: list[Json]) -> None:
        async for _ in socket:
            pass

    record, _ = call(silent, (turn("a", answer_within_ms=1500), turn("b", answer_within_ms=1500)))
    assert record.end is CallEnd.COMPLETED
    assert len(record.spoken) == 2
    assert record.sample_ns(record.spoken[1].start_sample) >= record.spoken[0].reply_deadline_ns
    assert record.ended_ns >= record.spoken[1].reply_deadline_ns


def test_marks_come_back_when_the_audio_before_them_has_played() -> None:
    """Not when they were received; the echo carries the name and a sequence number."""
    record, log = call(answering)
    (mark,) = record.marks
    played = record.received[0].play_ns + 4000 * NS_PER_SAMPLE
    assert mark.echoed_ns is not None
    assert mark.echoed_ns >= played
    (echo,) = [message for message in log if message["event"] == "mark"]
    assert echo["mark"] == {"name": mark.name}


def test_marks_come_back_at_once_when_nothing_is_buffered_or_on_clear() -> None:
    """An echo alone does not prove playback."""

    async def marking(socket: ServerConnection, log: list[Json]) -> None:
        async for text in socket:
            message = json.loads(text)
            log.append(message)
            if message["event"] == "start":
                sid = message["streamSid"]
                await socket.send(json.dumps({"event": "mark", "streamSid": sid, "mark": {"name": "at once"}}))
                await socket.send(media(message, TONE * 20))
                await socket.send(json.dumps({"event": "mark", "streamSid": sid, "mark": {"name": "cleared"}}))
            if message["event"] == "media" and message["media"]["chunk"] == "5":
                await socket.send(json.dumps({"event": "clear", "streamSid": message["streamSid"]}))

    record, log = call(marking, (turn(answer_within_ms=1500),))
    assert [m["mark"]["name"] for m in log if m["event"] == "mark"] == ["at once", "cleared"]
    (cleared_ns,) = record.clears_ns
    (received,) = record.received
    assert received.play_ns + received.played_samples * NS_PER_SAMPLE <= cleared_ns
    assert record.marks[1].echoed_ns is not None
    assert record.marks[1].echoed_ns < received.play_ns + 20 * 4000 * NS_PER_SAMPLE


def test_an_agent_that_greets_is_let_finish() -> None:
    """The pause before the first utterance counts from the greeting's end."""

    async def greeting(socket: ServerConnection, log: list[Json]) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["event"] == "start":
                await socket.send(media(message))

    record, _ = call(greeting, (turn(pause_ms=2000, answer_within_ms=500),))
    end = record.received[0].play_ns + 4000 * NS_PER_SAMPLE
    assert record.sample_ns(record.spoken[0].start_sample) >= end + 2000 * NS_PER_MS


def test_twilios_warnings_are_noted_with_their_codes() -> None:
    """Binary frames, invalid messages, foreign streams, a full buffer: one line a code, the call goes on."""

    async def clumsy(socket: ServerConnection, log: list[Json]) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["event"] == "start":
                await socket.send(b"\x00\x01")
                await socket.send("no json")
                await socket.send(json.dumps({"event": "media", "streamSid": "MZ other", "media": {"payload": ""}}))
                await socket.send(media(message, b"\xff" * (8000 * 601)))

    record, _ = call(clumsy, (turn(answer_within_ms=1500),))
    assert record.end is CallEnd.COMPLETED
    assert [warning[:5] for warning in record.warnings] == ["31931", "31950", "31951"]
    assert "(and 1 more)" in record.warnings[2]
    assert record.received[0].played_samples == 0


def test_an_agent_that_hangs_up_in_mid_call_is_recorded() -> None:
    """AGENT_CLOSED, with when, where and the close code; what was said and heard until then is kept."""

    async def leaving(socket: ServerConnection, log: list[Json]) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["event"] == "media" and message["media"]["chunk"] == "12":
                await socket.close(1011, "out of memory")

    record, _ = call(leaving)
    assert record.end is CallEnd.AGENT_CLOSED
    assert "in turn 'a'" in record.detail
    assert "1011" in record.detail
    assert "out of memory" in record.detail
    assert len(record.sent_ns) >= 12
    assert len(record.spoken) == 1


def test_a_message_in_fragments_is_one_message() -> None:
    """WebSocket fragmentation is no concern of the protocol above it."""

    async def fragmenting(socket: ServerConnection, log: list[Json]) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["event"] == "media" and message["media"]["chunk"] == "30":
                whole = media(message)
                await socket.send([whole[:10], whole[10:900], whole[900:]])

    record, _ = call(fragmenting, probe=True)
    assert len(record.received) == 1
    assert len(record.received[0].pcm) == 4000
    assert record.warnings == ()


def test_a_broken_websocket_ends_the_call() -> None:
    """A frame that no WebSocket has is Twilio's 31924."""

    async def breaking(socket: ServerConnection, log: list[Json]) -> None:
        await socket.recv()
        socket.transport.write(b"\x83\x00")
        await socket.wait_closed()

    record, _ = call(breaking)
    assert record.end is CallEnd.AGENT_CLOSED
    assert "31924" in record.detail


def test_an_agent_that_dies_is_recorded() -> None:
    """A socket that breaks without a close message is AGENT_CLOSED too."""

    async def dying(socket: ServerConnection, log: list[Json]) -> None:
        await socket.recv()
        socket.transport.abort()

    record, _ = call(dying)
    assert record.end is CallEnd.AGENT_CLOSED
    assert "before the first turn" in record.detail


def test_http_answers_instead_of_an_upgrade_are_refusals() -> None:
    """404 and 403 name the status, Twilio's code and what to look at, in one line."""
    for status, hint in ((HTTPStatus.NOT_FOUND, "path"), (HTTPStatus.FORBIDDEN, "TWILIO_AUTH_TOKEN")):
        record, log = call(
            answering, process_request=lambda socket, request, status=status: socket.respond(status, "no\n")
        )
        assert record.end is CallEnd.REFUSED
        assert f"31920: ws://127.0.0.1:{record.detail.split(':')[3].split('/')[0]}" in record.detail
        assert f"HTTP {status.value}" in record.detail
        assert hint in record.detail
        assert "\n" not in record.detail
        assert log == []


def test_what_is_no_agent_is_refused_with_one_line() -> None:
    """Nobody there, a URL that is none, a name that does not resolve."""
    for url, code in (
        ("ws://127.0.0.1:9/twilio/media", "31902"),
        ("http://127.0.0.1:9/", "31923"),
        ("nonsense", "31923"),
        ("ws://127.0.0.1:99999/", "319"),
    ):
        record = refused(url)
        assert record.end is CallEnd.REFUSED
        assert record.detail.startswith(code)
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
        assert record.detail.startswith(code), record.detail
        assert "\n" not in record.detail


def test_cancelling_returns_what_was_recorded() -> None:
    """Ctrl-C in mid-call: INTERRUPTED, frames and audio kept, the agent told by `stop`."""
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
        async def told(self: Connection) -> None:
            closes.append("begun")
            on_close(task)
            await asyncio.sleep(0)
            await close(self)
            closes.append("done")

        monkeypatch.setattr(Connection, "close", told)
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
    """A call that is over is COMPLETED even where the cancellation comes before its socket is closed, and it closes."""
    record, closes = place_one(monkeypatch, lambda task: task.cancel() and None)
    assert isinstance(record, CallRecord)
    assert record.end is CallEnd.COMPLETED
    assert closes == ["begun", "done"]


def test_a_callback_that_fails_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault comes out of the call, after its socket has been closed."""

    def fails(call_sid: str, turn: int, spoken: Spoken) -> None:
        raise RuntimeError("no room")

    fault, closes = place_one(monkeypatch, lambda task: None, on_spoken=fails)
    assert isinstance(fault, RuntimeError)
    assert closes == ["begun", "done"]


def test_upgrade_is_signed_as_twilio_signs_it() -> None:
    """The official validator accepts the header for the ws:// URL as written; without a token there is none."""
    seen: list[tuple[str, str]] = []

    def check(socket: ServerConnection, request: Request) -> Response | None:
        seen.append((f"ws://{request.headers['Host']}{request.path}", request.headers.get("X-Twilio-Signature", "")))
        return None

    call(answering, process_request=check, auth_token="12345")
    call(answering, process_request=check)
    (signed, plain) = seen
    assert RequestValidator("12345").validate(signed[0], {}, signed[1])
    assert plain[1] == ""


def test_keys_are_sent_as_twilio_sends_them() -> None:
    """A `dtmf` message each, numbered with the others, between the frames."""
    keyed = replace(clip(), keys=((400, "7"), (1200, "#")))
    record, log = call(answering, clips={"a": keyed})
    assert record.end is CallEnd.COMPLETED, record.detail
    told = [message for message in log if message["event"] == "dtmf"]
    assert [message["dtmf"] for message in told] == [
        {"track": "inbound_track", "digit": "7"},
        {"track": "inbound_track", "digit": "#"},
    ]
    numbers = [int(message["sequenceNumber"]) for message in log if "sequenceNumber" in message]
    assert numbers == list(range(1, len(numbers) + 1))


def test_lost_frames_never_come_and_time_goes_on() -> None:
    """The timestamp jumps over a lost frame, chunk and sequence number do not; the frame that holds t0 is kept."""
    record, log = call(answering, line=Line(loss_percent=20))
    assert record.lost_frames
    assert (record.spoken[0].end_sample - 1) // 160 not in record.lost_frames
    media_sent = [message for message in log if message["event"] == "media"]
    assert len(media_sent) == len(record.sent_ns) - len(record.lost_frames)
    assert [int(m["media"]["chunk"]) for m in media_sent] == list(range(1, len(media_sent) + 1))
    first_ms = int(media_sent[0]["media"]["timestamp"])
    kept = [frame for frame in range(len(record.sent_ns)) if frame not in record.lost_frames]
    assert [(int(m["media"]["timestamp"]) - first_ms) // 20 for m in media_sent] == [k - kept[0] for k in kept]
    assert [record.chunk_of(frame) for frame in kept] == [int(m["media"]["chunk"]) for m in media_sent]
    assert not record.caller_pcm.reshape(-1, 160)[list(record.lost_frames)].any()


def test_a_line_that_echoes_brings_the_agents_audio_back() -> None:
    """Once the reply plays, the caller's frames carry it, and what is recorded is what was sent."""
    record, log = call(answering, line=Line(echo=Echo(attenuation_db=20, delay_ms=100)))
    assert record.received
    begins_ns = record.received[0].play_ns + 100 * NS_PER_MS
    frame = (begins_ns - record.started_ns) // (160 * NS_PER_SAMPLE) + 1
    echo = record.caller_pcm[frame * 160 : (frame + 10) * 160].astype(float)
    assert 400 < np.abs(echo).max() < 1000
    sent = [message for message in log if message["event"] == "media"][frame]
    assert base64.b64decode(sent["media"]["payload"]) == mulaw.encode(record.caller_pcm[frame * 160 :][:160])


def test_a_dropped_call_ends_without_a_stop() -> None:
    """The socket is gone; the caller's record is that of a call that ended as planned."""
    record, log = call(answering, hang_up="drop")
    assert record.end is CallEnd.COMPLETED, record.detail
    assert "stop" not in {message["event"] for message in log}


def test_a_barge_in_over_a_real_reply() -> None:
    """The second turn begins while the first reply plays, and the agent's answer to it ends the call."""

    async def long_reply(socket: ServerConnection, log: list[Json]) -> None:
        spoke, silent, replies = False, 0, 0
        async for text in socket:
            message = json.loads(text)
            if message["event"] != "media":
                continue
            is_loud = loud(message)
            if is_loud and replies:
                await socket.send(json.dumps({"event": "clear", "streamSid": message["streamSid"]}))
            spoke, silent = spoke or is_loud, 0 if is_loud else silent + 1
            if spoke and silent == 10:
                spoke, replies = False, replies + 1
                await socket.send(media(message, TONE * 8))

    over = turn("b", agent="stop", over_agent_ms=500)
    record, _ = call(long_reply, (turn("a"), over), probe=True)
    assert record.end is CallEnd.COMPLETED, record.detail
    first, second = record.spoken
    assert second.over_agent
    assert record.sample_ns(second.start_sample) >= record.received[0].play_ns + 500 * NS_PER_MS
    assert record.clears_ns
    assert first.expectation is Expectation.RESPOND
