"""The wire side of a call: what is refused, ignored and closed."""

import asyncio
import json

import pytest
from turngap_agent.endpointing.energy import EnergyEngine, EnergySettings
from turngap_agent.errors import EngineError
from turngap_agent.server import media_socket, stream
from turngap_agent.telephony.messages import Dtmf, InboundMark, InboundMedia, Start

pytestmark = pytest.mark.anyio

HOSTILE = [
    "",
    "no json",
    "[]",
    "null",
    '{"event": "bogus"}',
    '{"event": "media"}',
    '{"event": "media", "streamSid": "MZ1", "sequenceNumber": "2", "media": {"track": "inbound"}}',
    '{"event": "mark", "streamSid": "MZ1", "sequenceNumber": 2, "mark": {"name": "x"}}',
    '{"event": ' + "[" * 100_000,
    '{"event": "media", "n": ' + "9" * 5000 + "}",
    json.dumps({"event": "mark", "streamSid": "MZ1", "sequenceNumber": "9" * 5000, "mark": {"name": "x"}}),
    json.dumps({"event": "start", "streamSid": "MZ1", "sequenceNumber": "1", "start": {"tracks": 7}}),
    b"\x00\xff",
    b"{}",
]


@pytest.mark.parametrize("message", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_message_that_makes_no_sense_is_ignored(serve, message):
    """Before and after `start` it is counted and changes nothing: the call is answered."""
    async with serve() as served, served.phone(start=False) as phone:
        await phone.send(message)
        await phone.begin()
        await phone.send(message)
        await phone.ask()
        assert (await phone.reply())[1]
        assert served.count("turngap_protocol_faults_total") == 2


@pytest.mark.parametrize(
    "message",
    [
        InboundMedia("MZother", 2, 1, 100, b"\xff" * 160),
        InboundMark("MZother", 2, "x"),
        InboundMedia("MZ1", 2, 1, 100, b"\xff" * 160, track="outbound"),
        Start("MZ1", "CA1", "AC1"),
    ],
)
async def test_a_message_out_of_place_is_ignored(serve, message):
    """A foreign streamSid, the wrong track, a second `start`: counted and ignored."""
    async with serve() as served, served.phone() as phone:
        await phone.send(message)
        await phone.ask()
        assert (await phone.reply())[0] == "turn-0-1"
        assert served.count("turngap_protocol_faults_total") == 1


async def test_media_before_start_is_ignored(serve):
    """Audio of no call is dropped, and the call that follows begins at its own first chunk."""
    async with serve() as served, served.phone(start=False) as phone:
        await phone.hush(100)
        await phone.begin()
        await phone.ask()
        assert (await phone.reply())[1]
        assert served.count("turngap_protocol_faults_total") == 5


async def test_a_key_and_a_strange_mark_do_no_harm(serve):
    """`dtmf` has no meaning here, and an unexpected echo proves nothing; neither is an error."""
    async with serve() as served, served.phone() as phone:
        await phone.send(Dtmf("MZ1", 2, "5"))
        await phone.send(InboundMark("MZ1", 3, "never sent"))
        await phone.ask()
        assert (await phone.reply())[1]
        assert served.count("turngap_protocol_faults_total") == 0


@pytest.mark.parametrize("fields", [{"encoding": "audio/x-alaw"}, {"sample_rate": 16000}, {"channels": 2}])
async def test_another_media_format_is_closed_with_the_reason(serve, fields):
    """What is not μ-law, 8 kHz, mono is closed as unsupported data."""
    async with serve() as served, served.phone(**fields) as phone:
        code, reason = await phone.closed()
        assert code == media_socket.UNSUPPORTED
        assert "audio/x-mulaw" in reason
        await served.idle()
        assert served.count("turngap_calls_total", result="refused") == 1


async def test_a_socket_that_never_starts_makes_room_for_another(serve, monkeypatch):
    """Without `start` in time the socket is closed with the reason."""
    monkeypatch.setattr(stream, "START_WITHIN_S", 0.05)
    async with serve() as served, served.phone(start=False) as phone:
        code, reason = await phone.closed()
        assert (code, "no start" in reason) == (media_socket.POLICY, True)
        await served.idle()


async def test_stop_ends_the_call_normally(serve):
    """`stop` is answered with a normal close, and the call is counted as answered."""
    async with serve() as served, served.phone() as phone:
        await phone.stop()
        assert (await phone.closed())[0] == media_socket.NORMAL
        await served.idle()
        assert served.count("turngap_calls_total", result="answered") == 1


async def test_a_call_whose_detector_fails_goes_on_by_level(serve, caplog):
    """It is answered all the same, and the fault is counted and logged once."""

    class Broken(EnergyEngine):
        def detector(self):
            return self

        async def push(self, pcm):
            raise EngineError("the detector has no more memory")

    async with serve(vad=Broken(EnergySettings(engine="energy"))) as served, served.phone() as phone:
        await phone.ask()
        name, _ = await phone.reply()
        await phone.hang_up()
        await served.idle()
        assert name == "turn-0-1"
        assert served.count("turngap_engine_faults_total", stage="vad", kind="raised") == 1
    assert [record.levelname for record in caplog.records].count("ERROR") == 1


async def test_a_caller_who_hangs_up_in_mid_reply_is_not_an_error(serve, caplog):
    """A connection that breaks while a long reply is being sent ends the call quietly."""
    async with serve("tts.ms_per_character=2000") as served:
        async with served.phone() as phone:
            await phone.ask()
            await phone.receive()
            phone.socket.transport.abort()
        await served.idle()
        assert served.count("turngap_turns_total") == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_dead_line_is_ended_politely(serve):
    """Where no audio comes for too long, the caller hears so, and the socket is closed normally."""
    async with serve("limits.dead_line_s=0.2") as served, served.phone() as phone:
        await phone.hush(100)
        name, audio = await phone.reply()
        assert (name, audio) == (stream.LAST_WORDS_MARK, b"".join(served.agent.announcements["dead_line"]))
        code, reason = await phone.closed()
        assert (code, "no audio" in reason) == (media_socket.NORMAL, True)
        await served.idle()


async def test_a_call_has_a_longest_length(serve):
    """A caller who goes on for longer hears so, in place of the reply that is under way."""
    slow = ("limits.call_s=0.3", "stt.delay_ms=5000")
    async with serve(*slow) as served, served.phone() as phone:
        await phone.ask()
        _, audio = await phone.reply()
        assert audio == b"".join(served.agent.announcements["time_limit"])
        code, reason = await phone.closed()
        assert (code, "lasted" in reason) == (media_socket.NORMAL, True)


async def test_an_announcement_ends_without_its_mark_too(serve, monkeypatch):
    """A side that echoes no mark is closed after the audio's length and a little more."""
    monkeypatch.setattr(stream, "LAST_WORDS_GRACE_S", 0.0)
    async with serve("limits.dead_line_s=0.2") as served, served.phone() as phone:
        await phone.reply(echo=False)
        assert (await phone.closed())[0] == media_socket.NORMAL


async def test_talk_before_start_is_limited(serve):
    """A socket that sends anything but a `start` is closed after some messages."""
    async with serve() as served, served.phone(start=False) as phone:
        for _ in range(stream.MESSAGES_BEFORE_START + 1):
            await phone.send('{"event": "bogus"}')
        code, reason = await phone.closed()
        assert (code, "no start" in reason) == (media_socket.POLICY, True)
        assert served.count("turngap_calls_total", result="refused") == 1


async def test_a_side_that_does_not_read_is_cut_off():
    """A message that is not taken in time stalls the socket: nothing more is sent, and closing does not wait either."""

    class Stuck:
        sent = 0

        async def send_text(self, text):
            self.sent += 1
            await asyncio.Event().wait()

        async def close(self, code, reason):
            await asyncio.Event().wait()

    stuck = Stuck()
    socket = media_socket.MediaSocket(stuck, send_s=0.01)
    await socket.send("a")
    assert socket.stalled.result().code == media_socket.POLICY
    await socket.send("b")
    assert stuck.sent == 1
    await socket.close(socket.stalled.result())
