"""A call in each dialect: what the agent is told, and that a known delay is measured to the sample."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from turngap.caller.call import place_call
from turngap.caller.dialects.registry import DIALECTS
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, FakeClock
from turngap.model.records import CallEnd, CallRecord
from turngap.scenario import PlannedCall
from turngap.scoring.milestones import find_milestones

from tests.harness.caller.calls import clip, turn
from tests.harness.caller.dialects.agents import AGENTS, ReferenceAgent

DELAY_MS = 300
PARAMETERS = {"customer": "twelve"}
EXACT = {"twilio": 0, "telnyx": 0, "vonage-8khz": 0, "plivo": 1, "vonage": 1}
"""By how many ms the onset may be off: none at 8 kHz, under one where 16 kHz is resampled."""


def place(name: str, monkeypatch: pytest.MonkeyPatch, *, clears: bool = False) -> tuple[CallRecord, ReferenceAgent]:
    """A call on a clock that jumps; `clears`: the agent clears its reply 100 ms after it began."""

    async def main() -> tuple[CallRecord, ReferenceAgent]:
        clock = FakeClock()
        async with Scheduler(clock).running() as scheduler:
            agent = AGENTS[name](clock, scheduler, DELAY_MS)
            monkeypatch.setattr("turngap.caller.call.open_connection", agent.open)
            if clears:
                reply = agent._reply

                def reply_and_clear(at_ns: int) -> None:
                    reply(at_ns)
                    scheduler.call_at(at_ns + 100 * NS_PER_MS, lambda now_ns: agent.write(agent.write_clear(), now_ns))

                monkeypatch.setattr(agent, "_reply", reply_and_clear)
            record = await place_call(
                "ws://agent/",
                PlannedCall(3, (turn(),), False),
                {"a": clip()},
                clock=clock,
                scheduler=scheduler,
                seed=1,
                auth_token="",
                custom_parameters=PARAMETERS,
                dialect=name,
            )
            return record, agent

    return asyncio.run(main())


@pytest.mark.parametrize("name", DIALECTS)
def test_a_known_delay_is_measured_to_the_sample(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 ms from the arrival of the caller's last loud frame to t1; within 1 ms where audio has 16 kHz."""
    record, agent = place(name, monkeypatch)
    assert record.end is CallEnd.COMPLETED, record.detail
    assert record.warnings == ()
    assert record.dialect == name
    (spoken,) = record.spoken
    frame = (spoken.end_sample - 1) // 160
    (moments,) = find_milestones(record)
    onset_ns = moments.onset_ns
    assert onset_ns is not None
    assert agent.sent_ns is not None
    assert abs(onset_ns - record.sent_ns[frame] - DELAY_MS * NS_PER_MS) <= EXACT[name] * NS_PER_MS
    assert abs(sum(len(message.pcm) for message in record.received) - 3200) <= 1


@pytest.mark.parametrize("name", DIALECTS)
def test_the_agent_hears_the_caller(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame once, in its format; at 16 kHz with the same sound at the same time."""
    record, agent = place(name, monkeypatch)
    heard = np.concatenate(agent.frames).astype(float)
    sent = record.caller_pcm.astype(float)
    if len(heard) == 2 * len(sent):
        heard = heard[::2]
    assert len(heard) == len(sent)
    assert np.abs(heard - sent).max() <= 0.04 * np.abs(sent).max() + 200
    correlation = float(np.corrcoef(heard, sent)[0, 1])
    assert correlation > 0.998


def test_the_start_names_the_call_and_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each platform has them."""
    starts: dict[str, Any] = {name: place(name, monkeypatch) for name in DIALECTS}
    calls = {name: record.call_sid for name, (record, _) in starts.items()}
    logs = {name: agent.log for name, (_, agent) in starts.items()}
    assert logs["twilio"][0] == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert logs["twilio"][1]["start"]["callSid"] == calls["twilio"]
    assert logs["twilio"][1]["start"]["customParameters"] == PARAMETERS
    assert logs["telnyx"][0] == {"event": "connected", "version": "1.0.0"}
    telnyx = logs["telnyx"][1]
    assert (telnyx["event"], telnyx["sequence_number"], telnyx["start"]["call_control_id"]) == (
        "start",
        "1",
        calls["telnyx"],
    )
    assert telnyx["start"]["media_format"] == {"encoding": "PCMU", "sample_rate": 8000, "channels": 1}
    assert telnyx["start"]["custom_parameters"] == PARAMETERS
    plivo = logs["plivo"][0]
    assert (plivo["event"], plivo["sequenceNumber"], plivo["start"]["callId"]) == ("start", 1, calls["plivo"])
    assert plivo["extra_headers"] == "customer=twelve"
    for name, rate in (("vonage", 16000), ("vonage-8khz", 8000)):
        assert logs[name][0] == {
            "event": "websocket:connected",
            "content-type": f"audio/l16;rate={rate}",
            "uuid": calls[name],
            **PARAMETERS,
        }


@pytest.mark.parametrize("name", DIALECTS)
def test_a_mark_is_answered_once_its_audio_has_played(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the platform's own message, with its name."""
    record, agent = place(name, monkeypatch)
    (mark,) = record.marks
    assert mark.echoed_ns is not None
    assert mark.echoed_ns >= record.received[-1].play_ns
    answers = {
        "twilio": lambda message: message["event"] == "mark" and message["mark"]["name"] == "end",
        "telnyx": lambda message: message["event"] == "mark" and message["mark"]["name"] == "end",
        "plivo": lambda message: message["event"] == "playedStream" and message["name"] == "end",
        "vonage": lambda message: message["event"] == "websocket:notify" and message["payload"] == {"name": "end"},
    }
    assert sum(map(answers[name.removesuffix("-8khz")], agent.log)) == 1


@pytest.mark.parametrize("name", DIALECTS)
def test_a_clear_stops_the_reply(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 100 of its 400 ms; Plivo and Vonage answer it, Twilio and Telnyx send the mark back."""
    record, agent = place(name, monkeypatch, clears=True)
    assert abs(sum(message.played_samples for message in record.received) - 800) <= 1
    events = [message["event"] for message in agent.log]
    expected = {"twilio": "mark", "telnyx": "mark", "plivo": "clearedAudio", "vonage": "websocket:cleared"}
    assert expected[name.removesuffix("-8khz")] in events
    if name in ("plivo", "vonage"):
        assert not {"playedStream", "websocket:notify"} & set(events)
