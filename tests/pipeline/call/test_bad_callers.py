"""Callers and lines that do what they should not, over a real WebSocket with scripted engines: nothing sticks.

A caller who never stops talking is in `test_floor`.
"""

import asyncio
import logging

import numpy as np
import pytest
from turngap_agent.stt import Transcript
from turngap_agent.stt.scripted import ScriptedSpeechToText, ScriptedSttSettings
from turngap_agent.telephony import mulaw
from turngap_agent.telephony.messages import Dtmf, InboundMedia

from tests.pipeline.conftest import wait_until

pytestmark = pytest.mark.anyio


class HeardSpeechToText(ScriptedSpeechToText):
    """Keeps the audio it gets."""

    def __init__(self) -> None:
        super().__init__(ScriptedSttSettings(engine="scripted", delay_ms=0))
        self.heard = []

    async def transcribe(self, audio):
        self.heard.append(audio)
        return Transcript("scripted words")


def list_call_tasks() -> list[str]:
    """The files of the call's tasks that are not done."""
    paths = [task.get_coro().cr_code.co_filename for task in asyncio.all_tasks() if not task.done()]
    return [path for path in paths if "/turngap_agent/call/" in path and "/tests/" not in path]


async def check_everything_is_freed(served) -> None:
    """The line is free, and no task of the call is left."""
    await served.idle()
    assert list_call_tasks() == []


async def test_a_caller_who_never_starts_is_not_answered(serve, caplog):
    """A minute of silence and comfort noise: no attempt, no word, a normal end."""
    async with serve() as served, served.phone() as phone:
        await phone.hush(30_000)
        await wait_until(list_call_tasks)
        await phone.play(np.random.default_rng(0).normal(0, 30, 30_000 * 8).astype(np.int16))
        await phone.hang_up()
        await check_everything_is_freed(served)
        assert served.count("turngap_turns_total") == 0
        assert served.traces.turns == []
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_keys_alone_are_taken_and_not_answered(serve, caplog):
    """`dtmf` messages are logged, each with its key; the agent stays silent, and words afterwards are answered."""
    caplog.set_level(logging.INFO, "turngap")
    async with serve() as served, served.phone() as phone:
        for index, key in enumerate("12#"):
            await phone.send(Dtmf("MZ1", index, key))
            await phone.hush(200)
        await phone.ask()
        name, _ = await phone.reply()
        await phone.hang_up()
        await check_everything_is_freed(served)
    assert name == "turn-0-1"
    assert [record.getMessage().split("key ")[1][0] for record in caplog.records if "key " in record.getMessage()] == [
        *"12#"
    ]


async def test_noise_as_loud_as_speech_is_a_turn_that_ends(serve):
    """Noise that never pauses is cut at the longest turn, and the call continues."""
    noise = np.random.default_rng(0).normal(0, 8000, 1300 * 8).clip(-32_768, 32_767).astype(np.int16)
    async with serve("endpointing.max_turn_ms=1000", "tts.ms_per_character=2") as served, served.phone() as phone:
        await phone.play(noise)
        assert (await phone.reply())[0] == "turn-0-1"
        await phone.hang_up()
        await check_everything_is_freed(served)


@pytest.mark.parametrize("offset", [1600, 9000])
async def test_a_dc_offset_is_not_speech(serve, offset):
    """A line that sits at 5 or 27 % of full scale: silence stays silence, and speech is answered once."""
    tone = 8000 * np.sin(2 * np.pi * 300 * np.arange(3200) / 8000)
    silence = np.zeros(8000)
    audio = np.concatenate([silence, tone, silence]) + offset
    async with serve() as served, served.phone() as phone:
        await phone.play(audio.astype(np.int16))
        assert (await phone.reply())[0] == "turn-0-1"
        await phone.hang_up()
        await check_everything_is_freed(served)
        assert served.count("turngap_turns_total") == 1


async def test_clipped_speech_is_answered(serve):
    """A square wave at full scale is speech like any other."""
    square = np.sign(np.sin(2 * np.pi * 300 * np.arange(3200) / 8000)) * 32_767
    async with serve() as served, served.phone() as phone:
        await phone.play(square.astype(np.int16))
        await phone.hush(400)
        assert (await phone.reply())[0] == "turn-0-1"


async def test_frames_lost_in_a_word_become_silence_of_their_length(serve):
    """Of 400 ms of speech 60 are lost: the transcriber gets all 400, with a hole where they were."""
    stt = HeardSpeechToText()
    async with serve(stt=stt) as served, served.phone() as phone:
        await phone.speak(200)
        phone.chunk += 3
        await phone.speak(140)
        await phone.hush(400)
        await phone.reply()
    (audio,) = stt.heard
    assert not audio[1600:2080].any()
    assert audio[1500:1600].any()
    assert audio[2080:2180].any()


async def test_a_repeated_message_counts_once(serve):
    """The same frame once more, as a network may bring it, is not heard twice."""
    stt = HeardSpeechToText()
    tone = mulaw.encode((8000 * np.sin(2 * np.pi * 300 * np.arange(160) / 8000)).astype(np.int16))
    async with serve(stt=stt) as served, served.phone() as phone:
        for chunk in range(1, 21):
            for _ in range(2):
                await phone.send(InboundMedia("MZ1", chunk + 1, chunk, 100 + 20 * chunk, tone))
        phone.chunk = 20
        await phone.hush(400)
        await phone.reply()
    assert len(stt.heard[0]) <= 8 * (20 * 20 + 400)


@pytest.mark.parametrize("when", ["listening", "in mid-word", "while the agent speaks", "while the agent is paused"])
async def test_a_socket_that_dies_without_stop_frees_everything(serve, when, caplog):
    """No `stop`, no close: at any moment the call ends, its line is free, and nothing is an error."""
    async with serve("tts.ms_per_character=300") as served:
        async with served.phone() as phone:
            if when == "listening":
                await phone.hush(100)
            elif when == "in mid-word":
                await phone.speak(200)
            else:
                await phone.ask()
                await phone.receive()
                if when == "while the agent is paused":
                    await phone.speak(200)
                    await phone.cleared()
            phone.socket.transport.abort()
        await check_everything_is_freed(served)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_line_that_is_silent_by_sending_nothing_is_answered(serve):
    """Some carriers send no frames while their caller is silent: the end of speech is noticed by the clock."""
    async with serve() as served, served.phone() as phone:
        for turn in range(2):
            await phone.speak(400)
            name, audio = await phone.reply()
            assert (name, bool(audio)) == (f"turn-{turn}-1", True)
        await phone.hang_up()
        await check_everything_is_freed(served)


@pytest.mark.parametrize("stamps", ["zero", "backwards", "both tracks", "200 ms frames"])
async def test_odd_stamps_tracks_and_frames_are_heard_whole(serve, stamps):
    """The caller's 400 ms of voice reach the transcriber once, and are answered once."""
    stt = HeardSpeechToText()
    tone = (8000 * np.sin(2 * np.pi * 300 * np.arange(3200) / 8000)).astype(np.int16)
    pcm = np.concatenate([tone, np.zeros(3200, np.int16)])
    step = 1600 if stamps == "200 ms frames" else 160
    async with serve(stt=stt) as served, served.phone() as phone:
        for chunk, at in enumerate(range(0, len(pcm), step), start=1):
            at_ms = {"zero": 0, "backwards": 10_000 - at // 8}.get(stamps, 100 + at // 8)
            payload = mulaw.encode(pcm[at : at + step])
            await phone.send(InboundMedia("MZ1", chunk + 1, chunk, at_ms, payload))
            if stamps == "both tracks":
                await phone.send(InboundMedia("MZ1", chunk + 1, chunk, at_ms, payload, track="outbound"))
        phone.chunk = len(pcm) // step
        name, audio = await phone.reply()
        await phone.hang_up()
        await check_everything_is_freed(served)
        assert served.count("turngap_turns_total") == 1
    assert (name, bool(audio)) == ("turn-0-1", True)
    (heard,) = stt.heard
    assert np.count_nonzero(np.abs(heard) > 0.02) > 0.9 * len(tone)
    assert len(heard) <= len(pcm)


async def test_frames_in_bursts_of_five_are_answered(serve):
    """Every 100 ms, in real time, as some lines send them: one answer to all of it."""
    stt = HeardSpeechToText()
    async with serve(stt=stt) as served, served.phone() as phone:
        for part in range(8):
            await (phone.speak(100) if part < 4 else phone.hush(100))
            await asyncio.sleep(0.1)
        assert (await phone.reply())[0] == "turn-0-1"
        await phone.hang_up()
        await check_everything_is_freed(served)
        assert served.count("turngap_turns_total") == 1
    (heard,) = stt.heard
    assert np.count_nonzero(np.abs(heard) > 0.02) > 0.85 * 3200
