"""A call over a real WebSocket to a small agent: messages, marks, clears, warnings."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace

import numpy as np
from turngap.caller.onset import find_onset
from turngap.caller.playout import played_segments
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import CallEnd
from turngap.scenario import Echo, Expectation, LineImpairments
from turngap_agent.telephony import mulaw
from twilio.request_validator import RequestValidator
from websockets.asyncio.server import Request, Response, ServerConnection

from tests.harness.caller.calls import TONE, Json, answering, call, clip, loud, media, turn


def test_messages_are_in_twilios_order_with_its_numbers() -> None:
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
    """The record's audio is the wire's, and contains the utterance where the record says."""
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


def test_comfort_noise_continues_between_utterances() -> None:
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
    onset = find_onset(played_segments(record.received), record.sample_ns(record.spoken[0].end_sample))
    assert onset is not None
    assert record.ended_ns - onset >= 500 * NS_PER_MS
    assert record.received[0].played_samples < 20 * 4000
    assert record.received[0].play_ns + record.received[0].played_samples * NS_PER_SAMPLE <= record.ended_ns


def test_an_agent_that_never_answers_is_waited_for_until_the_deadline() -> None:
    """The call then continues with its next turn, and ends as planned."""

    async def silent(socket: ServerConnection, log: list[Json]) -> None:
        async for _ in socket:
            pass

    record, _ = call(silent, (turn("a", answer_within_ms=1500), turn("b", answer_within_ms=1500)))
    assert record.end is CallEnd.COMPLETED
    assert len(record.spoken) == 2
    assert record.sample_ns(record.spoken[1].start_sample) >= record.spoken[0].reply_deadline_ns
    assert record.ended_ns >= record.spoken[1].reply_deadline_ns


def test_marks_are_echoed_when_the_audio_before_them_has_played() -> None:
    """Not when they were received; the echo carries the name and a sequence number."""
    record, log = call(answering)
    (mark,) = record.marks
    played = record.received[0].play_ns + 4000 * NS_PER_SAMPLE
    assert mark.echoed_ns is not None
    assert mark.echoed_ns >= played
    (echo,) = [message for message in log if message["event"] == "mark"]
    assert echo["mark"] == {"name": mark.name}


def test_marks_are_echoed_at_once_when_nothing_is_buffered_or_on_clear() -> None:
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
    """Binary frames, invalid messages, foreign streams, a full buffer: one line a code, and the call continues."""

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
    assert [warning.partition("(Twilio ")[2][:5] for warning in record.warnings] == ["31931", "31950", "31951"]
    assert "(and 1 more)" in record.warnings[2]
    assert record.received[0].played_samples == 0


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
    key_messages = [message for message in log if message["event"] == "dtmf"]
    assert [message["dtmf"] for message in key_messages] == [
        {"track": "inbound_track", "digit": "7"},
        {"track": "inbound_track", "digit": "#"},
    ]
    numbers = [int(message["sequenceNumber"]) for message in log if "sequenceNumber" in message]
    assert numbers == list(range(1, len(numbers) + 1))


def test_lost_frames_never_arrive_and_time_continues() -> None:
    """The timestamp jumps over a lost frame, chunk and sequence number do not; the frame that holds t0 is kept."""
    record, log = call(answering, line=LineImpairments(loss_percent=20))
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
    record, log = call(answering, line=LineImpairments(echo=Echo(attenuation_db=20, delay_ms=100)))
    assert record.received
    begins_ns = record.received[0].play_ns + 100 * NS_PER_MS
    frame = (begins_ns - record.started_ns) // (160 * NS_PER_SAMPLE) + 1
    echo = record.caller_pcm[frame * 160 : (frame + 10) * 160].astype(float)
    assert 400 < np.abs(echo).max() < 1000
    sent = [message for message in log if message["event"] == "media"][frame]
    assert base64.b64decode(sent["media"]["payload"]) == mulaw.encode(record.caller_pcm[frame * 160 :][:160])


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
