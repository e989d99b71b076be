"""Pause and resume over a stream that has only `clear`: nothing is lost, nothing is repeated."""

import asyncio
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent import clock
from turngap_agent.call import outbound as outbound_module
from turngap_agent.call.outbound import FADE_SAMPLES, OutboundAudio
from turngap_agent.call.playback import NS_PER_SAMPLE
from turngap_agent.profile.sections import BargeInSettings
from turngap_agent.telephony import mulaw
from turngap_agent.telephony.messages import Clear, OutboundMark, OutboundMedia
from turngap_agent.telephony.parsing import parse_outbound

MS = 1_000_000


class Ear:
    """Twilio's buffer and the caller's ear at its end, to the sample, with a clock that is moved by hand."""

    def __init__(self, way_ns: int = 0) -> None:
        self.now_ns = 0
        self.heard = b""
        self.clears = 0
        self.echoes: list[str] = []
        self._way_ns = way_ns
        self._buffer: list[bytes | str] = []
        self._plays_ns = 0
        self._coming: list[tuple[int, str]] = []

    async def send(self, text: str) -> None:
        self._coming.append((self.now_ns + self._way_ns, text))

    def pass_time(self, ns: int) -> None:
        until_ns = self.now_ns + ns
        while self._coming and self._coming[0][0] <= until_ns:
            at_ns, text = self._coming.pop(0)
            self._play(at_ns)
            self._take(at_ns, text)
        self._play(until_ns)
        self.now_ns = until_ns

    def _take(self, at_ns: int, text: str) -> None:
        match parse_outbound(text):
            case OutboundMedia(payload=payload):
                if not any(isinstance(item, bytes) for item in self._buffer):
                    self._plays_ns = max(self._plays_ns, at_ns)
                self._buffer.append(payload)
            case OutboundMark(name=name):
                self._buffer.append(name)
            case Clear():
                self.clears += 1
                self.echoes += [item for item in self._buffer if isinstance(item, str)]
                self._buffer.clear()
                self._plays_ns = at_ns

    def _play(self, until_ns: int) -> None:
        while self._buffer:
            item = self._buffer[0]
            if isinstance(item, str):
                self.echoes.append(item)
                self._buffer.pop(0)
                continue
            samples = min(len(item), (until_ns - self._plays_ns) // NS_PER_SAMPLE)
            if samples <= 0:
                return
            self.heard += item[:samples]
            self._plays_ns += samples * NS_PER_SAMPLE
            self._buffer[0] = item[samples:]
            if not self._buffer[0]:
                self._buffer.pop(0)


@pytest.fixture(autouse=True)
def _many_messages(monkeypatch):
    monkeypatch.setattr(outbound_module, "LATER_SAMPLES", 400)  # more messages for the same audio


def at_the_line(ear: Ear):
    def now_ns() -> int:
        return ear.now_ns

    return mock.patch.object(clock, "now_ns", now_ns)


def make_outbound(ear: Ear) -> OutboundAudio:
    return OutboundAudio("MZ1", ear.send, BargeInSettings())


async def say(outbound: OutboundAudio, payload: bytes) -> None:
    await outbound.play(outbound.message(payload), payload)


def speech(samples: int, seed: int = 0) -> bytes:
    """Codes that do not repeat, so that a lost or repeated sample is detected."""
    return np.random.default_rng(seed).integers(0, 256, samples, np.uint8).tobytes()


STEPS = st.lists(
    st.tuples(st.integers(0, 300_000_000), st.sampled_from(["say", "pause", "go on", "mark"]), st.integers(1, 3000)),
    max_size=25,
)


@given(STEPS, st.sampled_from([0, 40 * MS, 333 * MS]))
def test_for_any_pauses_nothing_is_lost_or_repeated(steps, way_ns):
    """Whatever is sent, paused and resumed, and however long the way: the ear hears all of it once, in order."""

    async def run() -> None:
        ear = Ear(way_ns)
        with at_the_line(ear), mock.patch.object(outbound_module, "_fade_in", lambda payload: payload):
            outbound, sent, marks = make_outbound(ear), b"", 0
            for wait_ns, action, samples in steps:
                ear.pass_time(wait_ns)
                for name in ear.echoes:
                    assert outbound.take_echo(name)
                ear.echoes.clear()
                if action == "say":
                    piece = speech(samples, len(sent))
                    sent += piece
                    await say(outbound, piece)
                elif action == "mark":
                    await outbound.mark(f"mark-{marks}")
                    marks += 1
                elif action == "pause":
                    await outbound.pause()
                else:
                    await outbound.resume()
                # Never more than the ear has heard and what is on its way to it, and never less.
                heard_samples = len(sent) - outbound.unheard_samples
                assert len(ear.heard) <= heard_samples <= len(ear.heard) + way_ns // NS_PER_SAMPLE
            await outbound.resume()
            assert outbound.unheard_samples * NS_PER_SAMPLE <= 60_000 * MS
            ear.pass_time(60_000 * MS)
            assert ear.heard == sent
            assert outbound.unheard_samples == 0

    asyncio.run(run())


@given(STEPS, st.sampled_from([0, 40 * MS]))
def test_what_counts_as_heard_was_heard(steps, way_ns):
    """Given up at any point, the samples sent less those unheard are what the ear got, in the end."""

    async def run() -> None:
        ear = Ear(way_ns)
        with at_the_line(ear), mock.patch.object(outbound_module, "_fade_in", lambda payload: payload):
            outbound, sent = make_outbound(ear), b""
            for wait_ns, action, samples in steps:
                ear.pass_time(wait_ns)
                if action == "say":
                    piece = speech(samples, len(sent))
                    sent += piece
                    await say(outbound, piece)
                elif action == "pause":
                    await outbound.pause()
                elif action == "go on":
                    await outbound.resume()
            heard = len(sent) - outbound.unheard_samples
            await outbound.clear()
            assert outbound.unheard_samples == 0
            ear.pass_time(60_000 * MS)
            assert ear.heard == sent[:heard]

    asyncio.run(run())


async def pause_at(ear: Ear, outbound: OutboundAudio, ms: int) -> bytes:
    """A second of speech and a mark, paused after so many milliseconds."""
    sent = speech(8000)
    await say(outbound, sent)
    await outbound.mark("turn-0-1")
    ear.pass_time(ms * MS)
    await outbound.pause()
    return sent


def test_a_pause_is_a_clear_and_later_audio_waits():
    """Nothing is sent while paused; the first sample sent afterwards is the first one not heard."""

    async def run() -> None:
        ear = Ear()
        with at_the_line(ear):
            outbound = make_outbound(ear)
            audio = await pause_at(ear, outbound, 250)
            await say(outbound, b"\x10" * 160)
            await outbound.mark("later")
            ear.pass_time(500 * MS)
            assert (ear.heard, ear.clears) == (audio[:2000], 1)
            assert outbound.unheard_samples == 6000 + 160
            await outbound.resume()
            ear.pass_time(2000 * MS)
            assert ear.heard[2000 + FADE_SAMPLES :] == audio[2000 + FADE_SAMPLES :] + b"\x10" * 160
            assert len(ear.heard) == len(audio) + 160

    asyncio.run(run())


def test_it_resumes_without_a_click():
    """Speech that resumes in the middle of a wave is faded in over 4 ms, and only there."""

    async def run() -> None:
        ear = Ear()
        loud = mulaw.encode(np.full(8000, 16_000, np.int16))
        with at_the_line(ear):
            outbound = make_outbound(ear)
            await say(outbound, loud)
            ear.pass_time(500 * MS)
            await outbound.pause()
            await outbound.resume()
            ear.pass_time(1000 * MS)
        pcm = mulaw.decode(ear.heard[4000:]).astype(int)
        assert abs(pcm[0]) < 500
        assert np.abs(np.diff(pcm)).max() < 1500
        np.testing.assert_array_equal(pcm[FADE_SAMPLES:], mulaw.decode(loud)[4000 + FADE_SAMPLES :])

    asyncio.run(run())


def test_a_mark_that_was_thrown_away_is_set_again():
    """The reply's mark follows its last audio after a pause too; its first echo, by the `clear`, proves nothing."""

    async def run() -> None:
        ear = Ear()
        with at_the_line(ear):
            outbound = make_outbound(ear)
            await pause_at(ear, outbound, 250)
            ear.pass_time(0)
            assert ear.echoes == ["turn-0-1"]
            await outbound.resume()
            assert outbound.take_echo("turn-0-1")
            assert outbound.unheard_samples == 6000
            ear.pass_time(1000 * MS)
            assert ear.echoes == ["turn-0-1"] * 2
            assert outbound.take_echo("turn-0-1")
            assert not outbound.take_echo("turn-0-1")

    asyncio.run(run())


def test_pausing_twice_is_pausing_once():
    """A second pause changes nothing, and giving up while paused sends no second `clear`."""

    async def run() -> None:
        ear = Ear()
        with at_the_line(ear):
            outbound = make_outbound(ear)
            audio = await pause_at(ear, outbound, 250)
            await outbound.pause()
            assert outbound.unheard_samples == 6000
            await outbound.clear()
            assert outbound.unheard_samples == 0
            await outbound.resume()
            ear.pass_time(1000 * MS)
        assert (ear.heard, ear.clears) == (audio[:2000], 1)

    asyncio.run(run())


def test_a_pause_during_a_resumption_keeps_the_order():
    """A voice that returns while the rest is being sent: what was not sent yet stays behind what was."""

    async def run() -> None:
        ear = Ear()
        with at_the_line(ear), mock.patch.object(outbound_module, "_fade_in", lambda payload: payload):
            outbound, real, sent = make_outbound(ear), ear.send, 0

            async def slow(text: str) -> None:
                nonlocal sent
                await real(text)
                sent += 1
                await asyncio.sleep(0)

            outbound._out._deliver = slow
            audio = await pause_at(ear, outbound, 250)
            going_on, sent = asyncio.create_task(outbound.resume()), 0
            while sent < 3:  # noqa: ASYNC110  # what is waited for knows nothing of the test
                await asyncio.sleep(0)
            ear.pass_time(20 * MS)
            await outbound.pause()
            await going_on
            assert outbound.unheard_samples == 6000 - 160
            await outbound.resume()
            ear.pass_time(2000 * MS)
        assert ear.heard == audio

    asyncio.run(run())
