"""Agents with scripted engines that run side by side, and a caller that calls them one after the other."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from turngap.caller.call import place_call
from turngap.caller.scheduler import Scheduler
from turngap.clock import Clock, SystemClock
from turngap.corpus import clips as corpus
from turngap.corpus.clips import Corpus
from turngap.model.turn import Outcome, TurnRecord
from turngap.processes.agent import RunningAgent, serve_command
from turngap.processes.span_receiver import SpanReceiver
from turngap.scenario import PlannedCall, Scenario, Turn
from turngap.scoring.score import score_call
from turngap_agent import profile
from turngap_agent.telephony import SAMPLE_RATE
from turngap_agent.tracing import OUTPUT_FOLDER

from benchmarks.promises import print_progress

SCRIPTED = profile.PROFILES / "scripted.yaml"
SPANS_TIMEOUT_S = 3.0
SYLLABLES_HZ = 4.0


def write_bursts(folder: Path, count: int, *, pause_ms: int = 300) -> tuple[Turn, ...]:
    """Write `count` WAV files into `folder`, noise in syllables of 450 to 650 ms that ends sharply."""
    turns = []
    for index in range(count):
        rng = np.random.default_rng(index)
        seconds = np.arange(round(rng.uniform(0.45, 0.65) * SAMPLE_RATE)) / SAMPLE_RATE
        # The phase is counted from the end, so that the last sample is at full level: the end of speech is exact.
        swell = 0.6 + 0.4 * np.cos(2 * np.pi * SYLLABLES_HZ * (seconds[-1] - seconds))
        file = folder / f"burst-{index}.wav"
        burst = np.clip(0.1 * swell * rng.normal(size=len(seconds)), -1, 1)
        # Without silence after it a sound may have been cut, and a run leaves it out.
        soundfile.write(file, np.append(burst, np.zeros(SAMPLE_RATE // 4)), SAMPLE_RATE, "PCM_16")
        turns.append(Turn(id=f"burst-{index}", audio=file, pause_ms=pause_ms, expect="scripted words"))
    return tuple(turns)


@dataclass(frozen=True, slots=True)
class Variant:
    """How one of the agents is started."""

    inject: tuple[str, ...] = ()
    traced: bool = True
    watched: bool = True
    """Its event loop is watched, as in every run."""
    sample_stacks: bool = False


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Agents that run at the same time, and a caller that calls them one after the other."""

    agents: Mapping[str, RunningAgent]
    variants: Mapping[str, Variant]
    receiver: SpanReceiver
    corpus: Corpus
    clock: Clock
    scheduler: Scheduler

    async def turn(self, name: str, index: int) -> TurnRecord:
        """Make one probe call of one turn to an agent.

        Calls of one index are the same for every agent: utterance, noise, positions of frames and end of speech. So
        turns of one index differ only by their agents.
        """
        utterance = self.corpus.scenario.turns[index % len(self.corpus.scenario.turns)]
        planned = PlannedCall(index, (utterance,), probe=True)
        url = self.agents[name].ready.url
        call = await place_call(url, planned, self.corpus.clips, clock=self.clock, scheduler=self.scheduler, seed=1)
        traced = self.variants[name].traced
        spans = (await self.receiver.collect(call.call_sid, SPANS_TIMEOUT_S)).spans if traced else ()
        (turn,) = score_call(call, spans, planned, network_ms=0.0, cold=False)
        return turn

    async def rounds(self, count: int, warm_up: int = 2) -> list[dict[str, TurnRecord]]:
        """Run rounds of one call to each agent, in an order that rotates, after `warm_up` rounds that do not count."""
        names, rounds = list(self.agents), []
        for index in range(-warm_up, count):
            order = names[index % len(names) :] + names[: index % len(names)]
            turns = {name: await self.turn(name, index + warm_up) for name in order}
            if index >= 0:
                rounds.append(turns)
                print_progress(f"round {index + 1}/{count}: {_outcomes(turns)}")
        return rounds


@asynccontextmanager
async def side_by_side(variants: Mapping[str, Variant], utterances: int = 12) -> AsyncIterator[SideBySide]:
    """Start an agent with scripted engines for each variant, and everything needed to call them."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scenario = Scenario(name="bursts", turns=write_bursts(folder, utterances))
        receiver = await SpanReceiver.start(folder / "spans.jsonl")
        stack.push_async_callback(receiver.stop)
        agents = {}
        for name, variant in variants.items():
            own = folder / name.replace(" ", "-")
            own.mkdir()
            command = serve_command(SCRIPTED, variant.inject, sample_stacks=variant.sample_stacks)
            agent = await RunningAgent.start(
                command if variant.watched else ["env", "-u", OUTPUT_FOLDER, *command],
                log=own / "agent.log",
                endpoint=receiver.endpoint if variant.traced else None,
            )
            stack.push_async_callback(agent.stop)
            agents[name] = agent
            print_progress(f"agent {name!r} is ready")
        scheduler = await stack.enter_async_context(Scheduler(clock).running())
        gc.collect()
        gc.freeze()  # as in a run: a garbage collection would take longer than a frame
        yield SideBySide(agents, variants, receiver, corpus.build_corpus(scenario, print_progress), clock, scheduler)


def is_answered(turn: TurnRecord) -> bool:
    """Return whether the turn was answered, and the instrument was not late."""
    return turn.outcome is Outcome.ANSWERED


def _outcomes(turns: Mapping[str, TurnRecord]) -> str:
    bad = [f"{name} {turn.outcome} ({turn.detail})" for name, turn in turns.items() if not is_answered(turn)]
    return "; ".join(bad) or "all answered"
