"""Pins the fake's line, on a clock that jumps: every sample takes its direction's delay, to the nanosecond."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from turngap.caller.comfort_noise import make_comfort_noise
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, FakeClock
from turngap.live.fake import webhooks
from turngap.live.fake.bridge import ANNOUNCEMENT_FRAMES, PHASE_NS, Bridge
from turngap.live.fake.call_parties import OutgoingAudio
from turngap.model.records import Pcm16
from turngap.network import Direction
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import FRAME_NS
from turngap_agent.telephony.twiml import connect_stream


class Recorder:
    """An end that sends numbered frames and writes down what arrives, and when."""

    def __init__(self, clock: FakeClock, value: int) -> None:
        self.heard: list[tuple[int, int, int]] = []
        self._clock = clock
        self._value = value
        self.requested_ns: list[int] = []

    def frame(self, from_ns: int) -> Pcm16:
        self.requested_ns.append(from_ns)
        return np.full(160, self._value + len(self.requested_ns), np.int16)

    def deliver(self, frame: int, pcm: Pcm16) -> None:
        self.heard.append((self._clock.now_ns(), frame, int(pcm[0])))

    async def stop(self, *, broken: bool = False) -> None:
        return


def run_bridge(
    uplink: Direction, downlink: Direction, frames: int = 40, **options: bool
) -> tuple[Recorder, Recorder, Bridge]:
    clock = FakeClock()
    caller, agent = Recorder(clock, 1000), Recorder(clock, 2000)

    async def run() -> Bridge:
        scheduler = Scheduler(clock)
        bridge = Bridge(caller, agent, uplink, downlink, clock=clock, scheduler=scheduler, seed="1", **options)
        running = asyncio.create_task(scheduler.run())
        while len(caller.requested_ns) < frames:  # noqa: ASYNC110  # the clock jumps: nothing else marks the time
            await asyncio.sleep(0)
        bridge.stop()
        running.cancel()
        return bridge

    return caller, agent, asyncio.run(run())


def test_each_frame_arrives_its_delay_after_it_was_complete() -> None:
    """60 ms one way, 90 ms the other, on beats of their own."""
    caller, agent, _ = run_bridge(Direction(delay_ms=60), Direction(delay_ms=90))
    for at_ns, frame, value in agent.heard:
        assert value == 1001 + frame
        assert at_ns == caller.requested_ns[frame] + FRAME_NS + 60 * NS_PER_MS
    for at_ns, frame, _ in caller.heard:
        assert at_ns == agent.requested_ns[frame] + FRAME_NS + 90 * NS_PER_MS
    assert agent.requested_ns[0] - caller.requested_ns[0] == PHASE_NS
    assert min(len(agent.heard), len(caller.heard)) > 30


def test_a_jittered_frame_is_never_early_and_never_overtakes() -> None:
    """It is added to the delay."""
    caller, agent, _ = run_bridge(Direction(delay_ms=60, jitter_ms=20), Direction())
    late = [at_ns - caller.requested_ns[frame] - FRAME_NS - 60 * NS_PER_MS for at_ns, frame, _ in agent.heard]
    assert min(late) >= 0
    assert max(late) > 0
    assert [frame for _, frame, _ in agent.heard] == sorted(frame for _, frame, _ in agent.heard)


def test_lost_frames_are_not_delivered() -> None:
    """And the frames after it keep their places."""
    _, agent, _ = run_bridge(Direction(loss=0.3), Direction(), frames=100)
    got = [frame for _, frame, _ in agent.heard]
    assert 0 < len(got) < 95
    assert all(value == 1001 + frame for _, frame, value in agent.heard)


def test_duplicated_frames_arrive_twice() -> None:
    """With the same number."""
    _, agent, _ = run_bridge(Direction(duplicate=0.3), Direction(), frames=100)
    got = [frame for _, frame, _ in agent.heard]
    assert len(got) > len(set(got))


def test_the_recording_has_both_sides_where_the_caller_has_them() -> None:
    """What is heard is later than what was sent by exactly its delay."""
    _, _, bridge = run_bridge(Direction(delay_ms=60), Direction(delay_ms=90))
    pcm = bridge.recording()
    assert pcm.shape[1] == 2
    first_said = int(np.flatnonzero(pcm[:, 0])[0])
    first_heard = int(np.flatnonzero(pcm[:, 1])[0])
    assert first_heard - first_said == (7 + 90) * 8


def test_a_trial_account_announces_itself_to_both() -> None:
    """Before either hears the other."""
    _, agent, _ = run_bridge(Direction(), Direction(), frames=ANNOUNCEMENT_FRAMES + 10, announced=True)
    values = [value for _, frame, value in agent.heard if frame < ANNOUNCEMENT_FRAMES]
    assert len(values) == ANNOUNCEMENT_FRAMES
    assert not any(1000 < value < 1200 for value in values)
    assert agent.heard[-1][2] == 1001 + agent.heard[-1][1]


def test_a_voice_is_cut_into_frames_as_its_buffer_plays() -> None:
    """A message in mid-frame begins in mid-frame; what was cleared is silence."""
    voice = OutgoingAudio()
    start = 10_000_000_000
    noise = make_comfort_noise(480, 3) + 1
    voice.playout.receive(noise, start + 10 * NS_PER_MS)
    first = voice.frame(start)
    assert not first[:80].any()
    assert (first[80:] == noise[:80]).all()
    voice.playout.clear(start + 30 * NS_PER_MS)
    second = voice.frame(start + 20 * NS_PER_MS)
    assert (second[:80] == noise[80:160]).all()
    assert not second[80:].any()
    assert not voice.frame(start + 40 * NS_PER_MS).any()


def test_twiml_is_read_as_it_is_written() -> None:
    """URL, parameters and callback; what Twilio would refuse is refused with its code."""
    instruction = webhooks.parse_stream_twiml(
        connect_stream("wss://a.example/x", {"nonce": "a&b"}, "https://a.example/s")
    )
    assert instruction == webhooks.StreamInstruction("wss://a.example/x", {"nonce": "a&b"}, "https://a.example/s")
    for text, code in (
        ("<Response>", "12100"),
        ("<Response><Hangup/></Response>", "12200"),
        ('<Response><Connect><Stream url="http://a.example"/></Connect></Response>', "31923"),
        ('<Response><Connect><Stream url="wss://a.example/x?y=1"/></Connect></Response>', "31923"),
    ):
        with pytest.raises(ProtocolError, match=code):
            webhooks.parse_stream_twiml(text)
