"""A talk, on a clock that jumps: frames as a phone sends them, turns as they end, marks, clears, and who hangs up."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from turngap.caller.scheduler import Scheduler
from turngap.cli.talk import format_turn_lines
from turngap.clock import NS_PER_MS, FakeClock
from turngap.model.records import CallRecord
from turngap.scenario import PlannedCall, Turn
from turngap.scoring.score import score_call
from turngap.talk.call import TalkCall
from turngap.talk.devices import FileDevice
from turngap_agent.telephony import mulaw

from tests.harness.talk.test_turn_detection import room, speech

MS = NS_PER_MS
Json = dict[str, Any]
TONE = mulaw.encode((np.sin(np.arange(8000) / 5) * 8000).astype(np.int16))


class Agent:
    """Stands where the socket does: answers with a second of tone, 300 ms after the last loud frame it read."""

    def __init__(self, clock: FakeClock, scheduler: Scheduler) -> None:
        self.clock, self.scheduler = clock, scheduler
        self.log: list[Json] = []
        self.on_message: Callable[[str | bytes, int], None]
        self.on_closed: Callable[[str, int], None]
        self.loud = False
        self.closed = False

    async def open(self, *_: object, **callbacks: Any) -> Agent:
        self.on_message, self.on_closed = callbacks["on_message"], callbacks["on_closed"]
        return self

    def send(self, text: str) -> None:
        message = json.loads(text)
        self.log.append(message)
        if message["event"] == "media":
            loud = bool(np.abs(mulaw.decode(base64.b64decode(message["media"]["payload"])).astype(int)).max() > 2000)
            if self.loud and not loud:
                self.scheduler.call_at(self.clock.now_ns() + 300 * MS, self.answer)
            self.loud = loud

    def answer(self, at_ns: int) -> None:
        self.give(at_ns, {"event": "media", "media": {"payload": base64.b64encode(TONE).decode()}})
        self.give(at_ns, {"event": "mark", "mark": {"name": "end"}})

    def give(self, at_ns: int, message: Json) -> None:
        self.on_message(json.dumps({"streamSid": self.log[1]["streamSid"], **message}), at_ns)

    async def close(self) -> None:
        self.closed = True


def talk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pcm: np.ndarray[Any, Any], kind: type[Agent] = Agent
) -> tuple[list[CallRecord], Agent, str]:
    """Say `pcm` (8 kHz) at 48 kHz to an agent of that kind: the turns, the agent, and why the talk ended."""
    soundfile.write(tmp_path / "in.wav", np.repeat(pcm, 6), 48_000)

    async def main() -> tuple[list[CallRecord], Agent, str]:
        clock, records = FakeClock(), list[CallRecord]()
        async with Scheduler(clock).running() as scheduler:
            agent = kind(clock, scheduler)
            monkeypatch.setattr("turngap.talk.call.open_connection", agent.open)
            device = FileDevice(tmp_path / "in.wav", tmp_path / "out.wav", clock)
            call = TalkCall(device, clock, scheduler, records.append)
            return records, agent, await call.run("ws://nowhere", {}, asyncio.Event(), lambda: None)

    return asyncio.run(main())


def test_two_utterances_are_two_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with the end of its speech, its reply, and a gap; then the input is finished, and the line is closed."""
    pcm = np.concatenate([speech(500, 900, 3500, -60), speech(0, 700, 300, -60)])
    records, agent, why = talk(tmp_path, monkeypatch, pcm)
    assert why == "the input is finished"
    ends_ms = [record.spoken[0].end_sample / 8 for record in records]
    assert len(ends_ms) == 2
    assert abs(ends_ms[0] - 1400) <= 20
    assert abs(ends_ms[1] - 5600) <= 20
    for record in records:
        planned = PlannedCall(0, (Turn(id="microphone", say="-"),), probe=False)
        (turn,) = score_call(record, (), planned, network_ms=0, cold=False)
        assert turn.turn_gap_ms is not None
        assert 280 < turn.turn_gap_ms < 400  # 300 and the frame, on a clock that only jumps
        assert "the agent answered after" in format_turn_lines(1, turn, 0)[0]
        assert "estimated" in format_turn_lines(1, turn, 0)[0]
    played, rate = soundfile.read(tmp_path / "out.wav")
    assert rate == 48_000
    assert 1.9 < (np.abs(played) > 0.01).mean() * len(played) / rate < 2.1
    assert agent.closed


def test_frames_are_twilios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """connected, start, media of 20 ms without a hole, the mark echoed, stop last."""
    _, agent, _ = talk(tmp_path, monkeypatch, speech(200, 500, 300, -60))
    events = [message["event"] for message in agent.log]
    assert events[:2] == ["connected", "start"]
    assert events[-1] == "stop"
    assert events.count("mark") == 1
    frames = [message["media"] for message in agent.log if message["event"] == "media"]
    assert [int(frame["chunk"]) for frame in frames] == list(range(1, len(frames) + 1))
    assert [int(frame["timestamp"]) for frame in frames] == [20 * k for k in range(len(frames))]
    assert {len(base64.b64decode(frame["payload"])) for frame in frames} == {160}
    numbered = [int(message["sequenceNumber"]) for message in agent.log[1:]]
    assert numbered == list(range(1, len(numbered) + 1))


def test_a_greeting_is_no_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody had spoken before it; the line stays open for as long as it speaks."""

    class Greeting(Agent):
        def send(self, text: str) -> None:
            super().send(text)
            if len(self.log) == 12:
                self.answer(self.clock.now_ns())

    records, agent, why = talk(tmp_path, monkeypatch, room(1000, -60), Greeting)
    assert records == []
    assert why == "the input is finished"
    assert len([message for message in agent.log if message["event"] == "mark"]) == 1


def test_a_clear_silences_the_loudspeaker_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waited is not played, and its mark is echoed."""

    class Yielding(Agent):
        def answer(self, at_ns: int) -> None:
            super().answer(at_ns)
            self.scheduler.call_at(at_ns + 200 * MS, lambda later_ns: self.give(later_ns, {"event": "clear"}))

    records, agent, _ = talk(tmp_path, monkeypatch, speech(200, 500, 300, -60), Yielding)
    assert len(records) == 1
    played, _ = soundfile.read(tmp_path / "out.wav")
    assert 0.15 < (np.abs(played) > 0.01).sum() / 48_000 < 0.3
    assert [message["event"] for message in agent.log].count("mark") == 1


def test_an_agent_that_hangs_up_ends_the_talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its reason; what is no message of Twilio's is passed over."""

    class Leaving(Agent):
        def answer(self, at_ns: int) -> None:
            self.on_message("not json", at_ns)
            self.on_message(b"binary", at_ns)
            self.on_closed("code 1000", at_ns)

    records, _, why = talk(tmp_path, monkeypatch, speech(200, 500, 300, -60), Leaving)
    assert (records, why) == ([], "the agent hung up: code 1000")


def test_an_agent_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds after the last speech."""

    class Mute(Agent):
        def answer(self, at_ns: int) -> None:
            pass

    records, agent, why = talk(tmp_path, monkeypatch, speech(200, 500, 300, -60), Mute)
    assert (records, why) == ([], "the input is finished")
    frames = [message for message in agent.log if message["event"] == "media"]
    assert len(frames) >= 50 + 500 - 10
