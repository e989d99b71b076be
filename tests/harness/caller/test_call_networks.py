"""Calls through a simulated network: what it adds is in the caller's times, and never in our own lateness."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from turngap.caller.call import place_call
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE, FakeClock
from turngap.model.records import CallEnd, CallRecord
from turngap.model.turn import TurnRecord
from turngap.network import Burst, Direction, NetworkProfile
from turngap.scenario import PlannedCall
from turngap.scoring.milestones import Milestones, find_milestones
from turngap.scoring.score import score_call
from turngap_agent import tracing
from turngap_agent.tracing import Span, Stage
from websockets.asyncio.server import ServerConnection

from tests.harness import builders
from tests.harness.caller.calls import FastClock, Json, answering, call, clip, loud, media, turn
from tests.harness.caller.test_network_link import profile

MS = NS_PER_MS


class ScriptedAgent:
    """Stands where the socket does, on the caller's own clock: answers a given time after the last loud frame."""

    def __init__(self, clock: FakeClock, scheduler: Scheduler, answer_ms: int) -> None:
        self._clock, self._scheduler, self._answer_ns = clock, scheduler, answer_ms * MS
        self._on_message: Callable[[str, int], None] | None = None
        self.read_ns: list[int] = []
        self.sent_ns: int | None = None
        self.unsent_bytes = 0
        self._was_loud = False

    async def open(self, *_: object, on_message: Callable[[str, int], None], **__: object) -> ScriptedAgent:
        self._on_message = on_message
        return self

    def send(self, text: str) -> None:
        message = json.loads(text)
        if message["event"] == "media":
            self.read_ns.append(self._clock.now_ns())
            if self._was_loud and not loud(message) and self.sent_ns is None:
                self.sent_ns = self.read_ns[-2] + self._answer_ns
                self._scheduler.call_at(self.sent_ns, lambda at_ns: self._answer(message, at_ns))
            self._was_loud = loud(message)

    def _answer(self, message: Json, at_ns: int) -> None:
        assert self._on_message is not None
        self._on_message(media(message), at_ns)

    async def close(self) -> None:
        pass


def score_scripted(
    monkeypatch: pytest.MonkeyPatch, network: NetworkProfile
) -> tuple[CallRecord, Milestones, TurnRecord]:
    """Call the scripted agent, which answers after 300 ms, over that network; its spans say what it read and sent."""

    async def main() -> tuple[CallRecord, ScriptedAgent]:
        clock = FakeClock()
        async with Scheduler(clock).running() as scheduler:
            agent = ScriptedAgent(clock, scheduler, 300)
            monkeypatch.setattr("turngap.caller.call.open_connection", agent.open)
            one = turn()
            planned = PlannedCall(0, (one,), probe=True, network=network)
            record = await place_call(
                "ws://nowhere",
                planned,
                {one.key: clip()},
                clock=clock,
                scheduler=scheduler,
                seed=1,
                auth_token="",
            )
            return record, agent

    record, agent = asyncio.run(main())
    assert record.end is CallEnd.COMPLETED, record.detail
    assert agent.sent_ns is not None
    assert record.sent_ns.tolist() == [record.frame_due_ns(frame) for frame in range(len(record.sent_ns))]
    (moments,) = find_milestones(record)
    attributes = {
        tracing.HEARD: True,
        tracing.CONFIRMED_NS: agent.sent_ns,
        tracing.SENT_NS: agent.sent_ns,
        tracing.ARRIVAL_FIRST_CHUNK: 1,
        tracing.ARRIVALS_NS: tuple(agent.read_ns),
    }
    spans = [
        Span(tracing.CALL_SPAN, record.started_ns, record.ended_ns, record.call_sid, -1, -1, {tracing.ATTEMPTS: 1}),
        Span(tracing.TURN_SPAN, moments.frame_due_ns, agent.sent_ns, record.call_sid, 0, 0, attributes),
    ]
    (scored,) = score_call(record, spans, PlannedCall(0, (turn(),), probe=True), network_ms=0, cold=False)
    return record, moments, scored


def test_delays_are_part_of_the_gap_in_their_stages_and_none_of_our_lateness(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 ms up, 300 ms of agent, 90 ms down: the gap holds all of it, transport_in 60, transport_out 90, lateness 0."""
    network = profile(Direction(delay_ms=60), Direction(delay_ms=90))
    _, moments, scored = score_scripted(monkeypatch, network)
    first_ns = NS_PER_SAMPLE  # the tone's first sample is 0: its second one is the first that is heard
    assert moments.t1_ns == moments.frame_due_ns + (60 + 300 + 90) * MS + first_ns
    assert scored.stages is not None, scored.stages_note
    assert scored.stages[Stage.TRANSPORT_IN].exposed_ms == 60
    assert scored.stages[Stage.TRANSPORT_OUT].exposed_ms == 90
    assert scored.lateness_send_ms == 0


def test_the_wait_for_a_burst_is_the_line_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five frames at once every 100 ms: the gap is longer by the wait, and the wait is in `transport_in` alone."""
    _, _, clean = score_scripted(monkeypatch, profile())
    _, _, burst = score_scripted(monkeypatch, profile(Direction(burst=Burst(period_ms=100))))
    assert clean.stages is not None, clean.stages_note
    assert burst.stages is not None, burst.stages_note
    assert clean.turn_gap_ms is not None
    assert burst.turn_gap_ms is not None
    waited_ms = burst.turn_gap_ms - clean.turn_gap_ms
    assert 0 < waited_ms < 100
    exposed = {stage: burst.stages[stage].exposed_ms - clean.stages[stage].exposed_ms for stage in clean.stages}
    assert exposed.pop(Stage.TRANSPORT_IN) == pytest.approx(waited_ms, abs=0.01)
    assert set(exposed.values()) == {0}
    assert burst.lateness_send_ms == 0


def test_a_lost_t0_frame_leaves_no_stages() -> None:
    """The agent never read it, so nobody can say when it arrived; the note says so."""
    call_ = builders.example_call().ends(4000)
    chunks = np.arange(1, len(call_.sent_ns) + 1)
    chunks[80] = 0
    call_ = replace(call_, network="lossy", chunks=chunks)
    spans = [*builders.attempt_spans(), builders.call_span()]
    (scored,) = score_call(call_, spans, builders.planned(), network_ms=0, cold=False)
    assert scored.stages is None
    assert scored.stages_note == "the frame that holds t0 was lost on the network 'lossy': the agent never read it"


def test_a_frame_is_written_no_earlier_than_it_arrives() -> None:
    """Read at least its delay after it was due; the record holds when it left the caller."""
    clock, read_ns = FastClock(), list[int]()

    async def reading(socket: ServerConnection, log: list[Json]) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["event"] == "media":
                read_ns.append(clock.now_ns())
                if message["media"]["chunk"] == "60":
                    await socket.send(media(message))

    record, _ = call(reading, network=profile(Direction(delay_ms=300)))
    assert record.end is CallEnd.COMPLETED, record.detail
    assert record.network == "test"
    assert record.chunks is not None
    for frame, at_ns in enumerate(read_ns):
        assert record.chunk_of(frame) == frame + 1
        assert record.frame_due_ns(frame) <= record.sent_ns[frame] <= at_ns - 300 * MS
    assert len(read_ns) < len(record.sent_ns)  # some were still on their way


def test_a_reply_is_heard_later_by_the_downlink() -> None:
    """It was received at the caller's end, and played, no earlier than its delay after it was sent; marks as well."""
    clock, sent_ns = FastClock(), list[int]()

    async def reply_after_speech(socket: ServerConnection, log: list[Json]) -> None:
        spoke = False
        async for text in socket:
            message = json.loads(text)
            log.append(message)
            if message["event"] == "media":
                if spoke and not loud(message):
                    spoke = False
                    sent_ns.append(clock.now_ns())
                    await socket.send(media(message))
                    mark = {"event": "mark", "streamSid": message["streamSid"], "mark": {"name": "end"}}
                    await socket.send(json.dumps(mark))
                spoke = spoke or loud(message)

    record, log = call(reply_after_speech, network=profile(Direction(delay_ms=40), Direction(delay_ms=500)))
    assert len(record.received) == len(sent_ns) == 1
    assert record.received[0].recv_ns >= sent_ns[0] + 500 * MS
    assert record.received[0].play_ns == record.received[0].recv_ns
    assert record.marks[0].recv_ns >= record.received[0].recv_ns
    assert [message["mark"]["name"] for message in log if message["event"] == "mark"] == ["end"]


def test_losses_leave_no_hole_in_the_numbers() -> None:
    """Chunks and sequence numbers count what is sent; the timestamp tells where a frame was lost."""
    record, log = call(answering, network=profile(Direction(loss=0.3)))
    frames = [message["media"] for message in log if message["event"] == "media"]
    assert [int(frame["chunk"]) for frame in frames] == list(range(1, len(frames) + 1))
    numbers = [int(message["sequenceNumber"]) for message in log[1:]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert record.chunks is not None
    arrived = [frame for frame in range(len(record.sent_ns)) if record.chunk_of(frame) is not None]
    assert len(arrived) < len(record.sent_ns)
    assert len(record.caller_pcm) == 160 * len(record.sent_ns)
    stamps = [int(frame["timestamp"]) for frame in frames]
    assert [stamp - stamps[0] for stamp in stamps] == [20 * (frame - arrived[0]) for frame in arrived[: len(stamps)]]


def test_a_double_has_a_number_of_its_own_and_the_same_timestamp() -> None:
    """Two messages with the same audio; the record knows the first of them."""
    record, log = call(answering, network=profile(Direction(duplicate=0.4)))
    frames = [message["media"] for message in log if message["event"] == "media"]
    assert [int(frame["chunk"]) for frame in frames] == list(range(1, len(frames) + 1))
    stamps = [frame["timestamp"] for frame in frames]
    doubles = [stamp for stamp in stamps if stamps.count(stamp) == 2]
    assert doubles
    assert len({frame["payload"] for frame in frames if frame["timestamp"] == doubles[0]}) == 1
    assert record.chunks is not None
    first = [int(frame["chunk"]) for frame in frames if stamps.index(frame["timestamp"]) == int(frame["chunk"]) - 1]
    assert record.chunks[record.chunks > 0].tolist()[: len(first)] == first


def test_a_broken_connection_ends_the_call_without_a_close_message() -> None:
    """The agent's socket just ends; the record says which network broke it, and when."""
    codes: list[int | None] = []

    async def listening(socket: ServerConnection, log: list[Json]) -> None:
        async for _ in socket:
            pass
        codes.append(socket.close_code)

    async def noting(socket: ServerConnection, log: list[Json]) -> None:
        try:
            await listening(socket, log)
        finally:
            codes.append(socket.close_code)

    record, _ = call(noting, network=profile(disconnect_after_s=0.5))
    assert record.end is CallEnd.DISCONNECTED
    assert "network 'test'" in record.detail
    assert "0.5 s" in record.detail
    assert record.ended_ns >= record.started_ns + 500 * MS
    assert 1000 not in codes


def test_audio_on_its_way_is_heard_before_the_agents_hang_up() -> None:
    """An agent that speaks and closes at once is heard: its close travels behind its audio."""

    async def leave(socket: ServerConnection, log: list[Json]) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["event"] == "media" and message["media"]["chunk"] == "5":
                await socket.send(media(message))
                return

    record, _ = call(leave, network=profile(downlink=Direction(delay_ms=400)))
    assert record.end is CallEnd.AGENT_CLOSED
    assert len(record.received) == 1
    assert record.ended_ns >= record.received[0].recv_ns


def test_the_same_seed_loses_the_same_frames() -> None:
    """What is drawn depends on the seed and the call's index alone."""

    def lost(seed: int) -> list[bool]:
        async def silent(socket: ServerConnection, log: list[Json]) -> None:
            async for _ in socket:
                await asyncio.sleep(0)

        record: CallRecord
        record, _ = call(silent, (turn("a", answer_within_ms=500),), seed=seed, network=profile(Direction(loss=0.4)))
        assert record.chunks is not None
        return [chunk == 0 for chunk in record.chunks[:30].tolist()]

    assert lost(1) == lost(1)
    assert lost(1) != lost(2)
