"""What the benchmarks share: promises and how they are printed, and agents that are called in turn by one caller."""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table
from turngap.caller.call import place_call
from turngap.caller.scheduler import Scheduler
from turngap.clock import Clock, SystemClock
from turngap.corpus import clips as corpus
from turngap.corpus.clips import Corpus
from turngap.model.turn import Outcome, TurnRecord
from turngap.processes.agent import Agent, serve_command
from turngap.processes.span_receiver import SpanReceiver
from turngap.scenario import PlannedCall, Scenario, Turn
from turngap.scoring.score import score_call
from turngap_agent import profile
from turngap_agent.errors import TurngapError
from turngap_agent.telephony import SAMPLE_RATE

SCRIPTED = profile.PROFILES / "scripted.yaml"
SPANS_TIMEOUT_S = 3.0
SYLLABLES_HZ = 4.0
UNUSABLE = 2
"""Exit code: nothing was measured, for what was asked for is not to be had; argparse has the same."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One figure and what was promised of it."""

    promise: str
    figure: str
    """As printed, with its unit."""
    value: float | None
    """The figure as a number; None where nothing was measured."""
    holds: bool | None
    """None: not asked for in this run, which is not counted against it."""


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A benchmark's command line, with `--json`; its first line is what the script says of itself."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("--json", action="store_true", help="print JSON on stdout, and nothing else there")
    return made


def news(text: str) -> None:
    """One line of progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def finished(main: Callable[[], int]) -> int:
    """The exit code of a benchmark; a fault of what it was given is its line on stderr, and `UNUSABLE`."""
    try:
        return main()
    except TurngapError as fault:
        news(str(fault))
        return UNUSABLE


def bounded(promise: str, value: float | None, at_most: float, unit: str = "ms", digits: int = 2) -> Promise:
    """A promise that `value` is `at_most` or less; one that was not measured, or is nan, does not hold."""
    if value is None:
        return Promise(promise, "not measured", None, holds=False)
    return Promise(promise, f"{value:.{digits}f} {unit}", value, holds=value <= at_most)


def conclude(title: str, promises: Sequence[Promise], details: Mapping[str, Any], *, as_json: bool) -> int:
    """Print the promises with their figures; gives the exit code: 0 where all hold, else 1."""
    holds = bool(promises) and all(one.holds is not False for one in promises)
    if as_json:
        rows = [asdict(one) for one in promises]
        print(json.dumps({"benchmark": title, "holds": holds, "promises": rows, **details}, indent=2))
        return 0 if holds else 1
    table = Table(title=title, title_justify="left")
    for heading in ("promise", "figure", ""):
        table.add_column(heading, justify="right" if heading == "figure" else "left", overflow="fold")
    for one in promises:
        table.add_row(one.promise, one.figure, {True: "holds", False: "DOES NOT HOLD", None: "–"}[one.holds])
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table, markup=False)
    console.print("all promises hold" if holds else "NOT ALL PROMISES HOLD")
    return 0 if holds else 1


def bursts(folder: Path, count: int, *, pause_ms: int = 300) -> tuple[Turn, ...]:
    """Write `count` WAV files into `folder`: noise that swells like syllables and ends at once; 450 to 650 ms long."""
    turns = []
    for index in range(count):
        rng = np.random.default_rng(index)
        seconds = np.arange(round(rng.uniform(0.45, 0.65) * SAMPLE_RATE)) / SAMPLE_RATE
        # Counted from the end, so that the last sample is as loud as any: an end of speech beyond doubt.
        swell = 0.6 + 0.4 * np.cos(2 * np.pi * SYLLABLES_HZ * (seconds[-1] - seconds))
        file = folder / f"burst-{index}.wav"
        soundfile.write(file, np.clip(0.1 * swell * rng.normal(size=len(seconds)), -1, 1), SAMPLE_RATE, "PCM_16")
        turns.append(Turn(id=f"burst-{index}", audio=file, pause_ms=pause_ms, expect="scripted words"))
    return tuple(turns)


@dataclass(frozen=True, slots=True)
class Variant:
    """How one of several agents is started."""

    inject: tuple[str, ...] = ()
    traced: bool = True


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Agents that stand at the same time, and a caller who rings them one after the other."""

    agents: Mapping[str, Agent]
    variants: Mapping[str, Variant]
    receiver: SpanReceiver
    corpus: Corpus
    clock: Clock
    scheduler: Scheduler

    async def turn(self, name: str, index: int) -> TurnRecord:
        """One probe call of one turn to that agent.

        Calls of one index are the same for every agent: utterance, noise, and where the frames and the end of speech
        lie. So two agents' turns of one index differ by the agents alone.
        """
        said = self.corpus.scenario.turns[index % len(self.corpus.scenario.turns)]
        planned = PlannedCall(index, (said,), probe=True)
        url = self.agents[name].ready.url
        call = await place_call(url, planned, self.corpus.clips, clock=self.clock, scheduler=self.scheduler, seed=1)
        traced = self.variants[name].traced
        spans = (await self.receiver.collect(call.call_sid, SPANS_TIMEOUT_S)).spans if traced else ()
        (turn,) = score_call(call, spans, planned, network_ms=0.0, cold=False)
        return turn

    async def rounds(self, count: int, warm_up: int = 2) -> list[dict[str, TurnRecord]]:
        """So many rounds, every agent called once in each, in an order that moves on by one; `warm_up` rounds first."""
        names, found = list(self.agents), []
        for index in range(-warm_up, count):
            order = names[index % len(names) :] + names[: index % len(names)]
            turns = {name: await self.turn(name, index + warm_up) for name in order}
            if index >= 0:
                found.append(turns)
                news(f"round {index + 1}/{count}: {_outcomes(turns)}")
        return found


@asynccontextmanager
async def side_by_side(variants: Mapping[str, Variant], utterances: int = 12) -> AsyncIterator[SideBySide]:
    """Start an agent with scripted engines for each variant, and all that is needed to call them."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scenario = Scenario(name="bursts", turns=bursts(folder, utterances))
        receiver = await SpanReceiver.start(folder / "spans.jsonl")
        stack.push_async_callback(receiver.stop)
        agents = {}
        for name, variant in variants.items():
            agent = await Agent.start(
                serve_command(SCRIPTED, variant.inject),
                log=folder / f"{name}.log",
                endpoint=receiver.endpoint if variant.traced else None,
            )
            stack.push_async_callback(agent.stop)
            agents[name] = agent
            news(f"agent {name!r} is ready")
        scheduler = await stack.enter_async_context(Scheduler(clock).running())
        gc.collect()
        gc.freeze()  # as in a run: a collection would take longer than a frame
        yield SideBySide(agents, variants, receiver, corpus.build_corpus(scenario, news), clock, scheduler)


def answered(turn: TurnRecord) -> bool:
    """Answered as it should be, the instrument itself being punctual."""
    return turn.outcome is Outcome.ANSWERED


def _outcomes(turns: Mapping[str, TurnRecord]) -> str:
    bad = [f"{name} {turn.outcome} ({turn.detail})" for name, turn in turns.items() if not answered(turn)]
    return "; ".join(bad) or "all answered"
