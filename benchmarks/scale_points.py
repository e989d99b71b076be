"""Measures one agent with scripted engines at several loads, in alternation: gaps, and cores that are used."""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from turngap.caller.call import place_call
from turngap.caller.scheduler import Scheduler
from turngap.clock import SystemClock
from turngap.corpus import clips as corpus
from turngap.processes.agent import RunningAgent, serve_command
from turngap.scenario import PlannedCall, Scenario
from turngap.scoring.score import score_call

from benchmarks.promises import print_progress
from benchmarks.side_by_side import is_answered, write_bursts

PROFILE = """\
name: scripted-many
description: No models, many calls. For the fleet's arithmetic.
vad: {{engine: energy}}
endpointing: {{policy: silence, min_silence_ms: 200, model: {{engine: scripted}}}}
stt: {{engine: scripted}}
llm: {{engine: scripted}}
tts: {{engine: scripted}}
limits: {{simultaneous_calls: {calls}}}
deadlines: {{silence_ms: 30000}}
"""
TURNS_A_CALL = 6
STAGGER_S = 3.5
"""Calls begin within so long, about a turn: else all would speak at once."""


@dataclass(frozen=True, slots=True)
class Point:
    """One load, measured once."""

    calls: int
    gaps_ms: tuple[float, ...]
    agent_cores: float
    """CPU time of the agent's process over the time of the calls."""
    caller_cores: float
    """The same of this process, which spins before each deadline: an upper bound of what its calls cost."""
    turns: int
    late: int
    """Turns that say nothing because the caller itself was late, or that were not answered."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return it as stored."""
        return asdict(self)


async def measure_points(loads: Sequence[int], rounds: int, seed: int = 1) -> list[Point]:
    """Return `rounds` points of each load, the loads of each round in an order of its own."""
    clock, points = SystemClock(), []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        profile = folder / "scripted-many.yaml"
        profile.write_text(PROFILE.format(calls=2 * max(loads)), "utf-8")
        scenario = Scenario(name="bursts", turns=write_bursts(folder, 12))
        clips = corpus.build_corpus(scenario, print_progress)
        agent = await RunningAgent.start(serve_command(profile), log=folder / "agent.log", endpoint=None)
        stack.push_async_callback(agent.stop)
        scheduler = await stack.enter_async_context(Scheduler(clock).running())
        gc.collect()
        gc.freeze()
        order = random.Random(seed)
        for round_ in range(rounds):
            for calls in order.sample(list(loads), len(loads)):
                point = await _measure(agent, clips, calls, clock, scheduler, seed + round_)
                points.append(point)
                print_progress(
                    f"round {round_ + 1}/{rounds}, {calls} calls: {statistics.median(point.gaps_ms):.1f} ms, agent "
                    f"{point.agent_cores:.2f} cores, caller {point.caller_cores:.2f}, {point.late} of {point.turns} "
                    "turns left out"
                    if point.gaps_ms
                    else f"round {round_ + 1}/{rounds}, {calls} calls: no turn can be used"
                )
    return points


async def _measure(
    agent: RunningAgent, clips: corpus.Corpus, calls: int, clock: SystemClock, scheduler: Scheduler, seed: int
) -> Point:
    """Place so many calls together, and count CPU time from the first to the last."""
    assert agent.pid is not None
    process, rng = psutil.Process(agent.pid), random.Random(seed)
    utterances = clips.scenario.turns
    planned = [
        PlannedCall(index, tuple(rng.choices(utterances, k=TURNS_A_CALL)), probe=False) for index in range(calls)
    ]
    waits_s = [rng.uniform(0, STAGGER_S) for _ in planned]

    async def call_later(plan: PlannedCall, wait_s: float) -> Any:
        await asyncio.sleep(wait_s)
        return await place_call(
            agent.ready.url, plan, clips.clips, clock=clock, scheduler=scheduler, seed=seed, auth_token=""
        )

    began_s, agent_s, own_s = time.perf_counter(), _cpu_s(process), time.process_time()
    records = await asyncio.gather(*map(call_later, planned, waits_s))
    seconds = time.perf_counter() - began_s
    agent_cores, caller_cores = (_cpu_s(process) - agent_s) / seconds, (time.process_time() - own_s) / seconds
    turns = [
        turn
        for record, plan in zip(records, planned, strict=True)
        for turn in score_call(record, (), plan, network_ms=0.0, cold=False)
    ]
    gaps = tuple(turn.turn_gap_ms for turn in turns if is_answered(turn) and turn.turn_gap_ms is not None)
    return Point(calls, gaps, agent_cores, caller_cores, len(turns), len(turns) - len(gaps), seconds)


def _cpu_s(process: psutil.Process) -> float:
    own = process.cpu_times()
    return float(own.user + own.system)
