"""A real agent in a process whose clock is shifted, called over a real WebSocket: the truth is known, by the shift."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from turngap.caller.call import place_call
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, SystemClock
from turngap.model.records import CallRecord
from turngap.processes.agent import RunningAgent, serve_command
from turngap.processes.span_receiver import SpanReceiver
from turngap.scenario import PlannedCall
from turngap.scoring.score import score_call
from turngap.spans.remote import align_own_spans
from turngap_agent import profile, tracing
from turngap_agent.tracing import Span

from tests.harness.caller.calls import clip, turn

SHIFT_NS = 77_123_456_789_123
"""A day less some hours, and no round number."""
AGENT = Path(__file__).parent / "agent_with_shifted_clock.py"
TURNS = (turn("a"), turn("b"))
PLANNED = PlannedCall(0, TURNS, probe=False)


async def call_agent(tmp_path: Path) -> tuple[CallRecord, Sequence[Span]]:
    """Start the agent, place one call of two turns to it, and return the call and its spans as they were received."""
    clock = SystemClock()
    receiver = await SpanReceiver.start(tmp_path / "spans.jsonl", other_boots=True)
    try:
        python, *rest = serve_command(profile.PROFILES / "scripted.yaml")
        command = [python, str(AGENT), *rest[rest.index("turngap_agent") + 1 :], "--set", "tts.ms_per_character=10"]
        agent = await RunningAgent.start(command, log=tmp_path / "agent.log", endpoint=receiver.endpoint)
        try:
            async with Scheduler(clock).running() as scheduler:
                clips = {one.key: clip(400) for one in TURNS}
                record = await place_call(agent.ready.url, PLANNED, clips, clock=clock, scheduler=scheduler, seed=1)
            collected = await receiver.collect(record.call_sid, 10)
        finally:
            await agent.stop()
    finally:
        await receiver.stop()
    assert collected.note == ""
    return record, collected.spans


def shift_back(spans: Sequence[Span]) -> list[Span]:
    """The same spans on our clock, by the shift that the agent's process was started with."""
    near = []
    for span in spans:
        attributes = {key: value for key, value in span.attributes.items() if key != tracing.BOOT_ID}
        for key, value in attributes.items():
            if isinstance(value, int) and value > SHIFT_NS:
                attributes[key] = value - SHIFT_NS
            elif isinstance(value, tuple) and value and isinstance(value[0], int) and value[0] > SHIFT_NS:
                attributes[key] = tuple(int(at_ns) - SHIFT_NS for at_ns in value)
        near.append(
            replace(span, start_ns=span.start_ns - SHIFT_NS, end_ns=span.end_ns - SHIFT_NS, attributes=attributes)
        )
    return near


def test_an_agent_whose_clock_is_shifted_has_stages_that_contain_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its spans are joined by what was sent and received alone: each stage is right within its stated uncertainty."""
    monkeypatch.setenv("TURNGAP_TEST_SHIFT_NS", str(SHIFT_NS))
    record, spans = asyncio.run(call_agent(tmp_path))
    assert all(span.attributes[tracing.BOOT_ID] == "another-host" for span in spans)
    near = shift_back(spans)
    aligned = align_own_spans(record, spans)
    assert aligned.note == ""
    for found, true in zip(aligned.spans, near, strict=True):
        within_ns = aligned.within_ns.get((found.turn, found.attempt), 5_000 * NS_PER_MS)
        assert abs(found.start_ns - true.start_ns) <= within_ns + 1
    truth = score_call(record, near, PLANNED, network_ms=0.0, cold=False)
    turns = score_call(record, spans, PLANNED, network_ms=0.0, cold=False)
    assert len(turns) == len(TURNS)
    for far, exact in zip(turns, truth, strict=True):
        assert far.turn_gap_ms == exact.turn_gap_ms
        assert far.stages is not None
        assert exact.stages is not None
        assert set(far.stages) == set(exact.stages)
        for stage, time in far.stages.items():
            assert time.exposed_ms == pytest.approx(exact.stages[stage].exposed_ms, abs=time.uncertainty_ms + 1e-3)
        assert any(time.uncertainty_ms > 0 for time in far.stages.values())
        assert "the agent's clock is another host's" in far.stages_note
