"""Measures agents of other frameworks beside a profile, on the same engines and the same callers, in one run.

    python -m benchmarks.peers.beside [SCENARIO] [--turns N] [--agents pipecat,pipecat-silence] [--out results] [--json]
    python -m benchmarks.peers.beside --read FOLDER                                          reads a finished one

Each call is placed to every agent before the next call, in a seeded order; all agents run throughout, and those that
are not called do nothing. `tox -e peers -- …` installs what it needs. Settings and figures: docs/peers.md.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from turngap.clock import SystemClock
from turngap.corpus import clips
from turngap.model.turn import Outcome, TurnRecord
from turngap.processes.agent import RunningAgent
from turngap.progress import ConsoleProgress, PipeConsole
from turngap.session import plan, runner
from turngap.session.agent_run import AgentRun, close_run, open_run
from turngap.session.request import Options, Request
from turngap.session.runner import Session
from turngap.store import folder as store
from turngap.store.folder import StoredRun
from turngap.sweeps.runner import interleave_calls
from turngap.verdict import stats, summary

from benchmarks.promises import (
    UNUSABLE,
    format_number,
    format_percent,
    make_parser,
    print_progress,
    print_table,
    run_main,
)

OURS = "profile"
PIPECAT = "benchmarks.peers.pipecat_agent"
LIVEKIT = "benchmarks.peers.livekit_agent"
BOOTSTRAPS = 4_000


@dataclass(frozen=True, slots=True)
class Peer:
    """An agent of another framework: how it is started, and what its spans mean."""

    module: str
    arguments: tuple[str, ...]
    mapping: str


PEERS: Mapping[str, Peer] = {
    "pipecat": Peer(PIPECAT, ("--turns", "smart_turn"), "pipecat"),
    "pipecat-silence": Peer(PIPECAT, ("--turns", "silence", "--speech-timeout-s", "0.2"), "pipecat"),
    "livekit": Peer(LIVEKIT, ("--min-delay-s", "0.4"), "livekit"),
    "pipecat-sentence": Peer(PIPECAT, ("--turns", "smart_turn", "--aggregation", "sentence"), "pipecat"),
}


@dataclass(frozen=True, slots=True)
class Ratio:
    """Their median over ours, of the utterances that both answered."""

    pairs: int
    ratio: float
    low: float
    high: float
    """Percentile bootstrap over utterances, 95 %."""


def compare_medians(ours: Sequence[TurnRecord], theirs: Sequence[TurnRecord], seed: int = 1) -> Ratio | None:
    """Return the ratio of the median turn gaps with its interval; None with fewer than two pairs."""
    own = _gaps_by_utterance(ours)
    pairs = np.array([(gap, own[key]) for key, gap in _gaps_by_utterance(theirs).items() if key in own])
    if len(pairs) < 2:
        return None
    draws = np.random.default_rng(seed).integers(len(pairs), size=(BOOTSTRAPS, len(pairs)))
    medians = np.median(pairs[draws], axis=1)
    low, high = np.percentile(medians[:, 0] / medians[:, 1], [2.5, 97.5])
    theirs_ms, ours_ms = np.median(pairs, axis=0)
    return Ratio(len(pairs), float(theirs_ms / ours_ms), float(low), float(high))


async def measure(options: argparse.Namespace, out: Path) -> None:
    """Start every agent, place each call to all of them, and write a run folder for each."""
    clock, display = SystemClock(), ConsoleProgress(PipeConsole(stderr=True), options.scenario)
    async with AsyncExitStack() as stack:
        requests = {OURS: plan.plan_run(options.scenario, profile=options.profile, options=_options(options, out))}
        for name in options.agents:
            requests[name] = await _start_peer(stack, name, options, out)
        corpus = clips.build_corpus(requests[OURS].scenario, display.show_message)
        runs: list[AgentRun] = []
        for name, request in requests.items():
            runs.append(await open_run(plan.with_corpus(request, corpus), corpus, clock, name=name, folder_name=name))
            stack.callback(runs[-1].unlock)
        session = Session(
            agent_runs=runs,
            calls=interleave_calls(runs, requests[OURS].seed),
            slots=1,
            sentinel_log=out / store.SENTINEL,
            interrupted="interrupted: the finished turns are kept",
        )
        error = await runner.run_session(session, corpus, display, clock=clock, stop=asyncio.Event())
        for agent_run in runs:
            close_run(agent_run, corpus.clips, clock)
        if error is not None:
            raise error


async def _start_peer(stack: AsyncExitStack, name: str, options: argparse.Namespace, out: Path) -> Request:
    """Start an agent and return the request that measures it at its URL, with its spans."""
    peer = PEERS[name]
    port = options.otlp_port + list(options.agents).index(name)
    command = [sys.executable, "-m", peer.module, "--profile", options.profile, *peer.arguments]
    print_progress(f"starting {name}")
    agent = await RunningAgent.start(command, log=out / f"{name}.log", endpoint=f"http://127.0.0.1:{port}")
    stack.push_async_callback(agent.stop)
    return plan.plan_run(
        options.scenario,
        url=agent.ready.url,
        spans=peer.mapping,
        options=replace(_options(options, out), otlp_port=port),
    )


def _options(options: argparse.Namespace, out: Path) -> Options:
    return Options(n_turns=options.turns, out=out)


def print_figures(folder: Path, *, as_json: bool) -> int:
    """Print the table of the runs in `folder`; return 2 if the profile's run is not there."""
    runs = {path.name: store.read_run(path) for path in sorted(folder.iterdir()) if (path / store.RUN).is_file()}
    if OURS not in runs:
        print_progress(f"{folder}: there is no run {OURS!r}")
        return UNUSABLE
    ours = summary.valid_turns(runs[OURS].turns)
    rows = []
    for name in (OURS, *(each for each in runs if each != OURS)):
        ratio = compare_medians(ours, summary.valid_turns(runs[name].turns)) if name != OURS else None
        rows.append(_row(name, runs[name], ratio))
    columns = (
        "agent",
        "turns",
        "median",
        "p95",
        "median answered",
        "substance",
        "cut off",
        "WER",
        "ratio",
    )
    print_table(f"side by side, {runs[OURS].record.scenario}, ms", columns, rows, as_json=as_json)
    return 0


def _row(name: str, run: StoredRun, ratio: Ratio | None) -> tuple[str, ...]:
    record, turns = run.record, summary.valid_turns(run.turns)
    answered = [turn.turn_gap_ms for turn in turns if turn.is_good and turn.turn_gap_ms is not None]
    substance = record.substance_gap_ms.p50 if record.substance_gap_ms is not None else None
    shown = "–" if ratio is None else f"{ratio.ratio:.2f} ({ratio.low:.2f}–{ratio.high:.2f}), {ratio.pairs} pairs"
    return (
        name,
        describe_outcomes(run.turns),
        format_number(record.turn_gap_ms.p50),
        format_number(record.turn_gap_ms.p95),
        format_number(stats.percentile(answered, 0.5)),
        format_number(substance),
        f"{record.cut_off_rate.events} of {record.cut_off_rate.n}",
        format_percent(record.wer),
        shown,
    )


def describe_outcomes(turns: Sequence[TurnRecord]) -> str:
    """Return how many turns were scored, and the outcome of each of them: "12: 10 answered, 1 missed, 1 cut off"."""
    counts = Counter(turn.outcome for turn in turns if turn.scored)
    parts = [f"{counts[outcome]} {outcome.replace('_', ' ')}" for outcome in Outcome if counts[outcome]]
    return f"{counts.total()}: {', '.join(parts)}" if parts else "0"


def _gaps_by_utterance(turns: Sequence[TurnRecord]) -> dict[str, float]:
    return {turn.utterance_id: turn.turn_gap_ms for turn in turns if turn.is_good and turn.turn_gap_ms is not None}


def main() -> int:
    """Measure, or read, and print."""
    parser = make_parser(__doc__)
    parser.add_argument("scenario", nargs="?", default="gate", help="a scenario by name or file")
    parser.add_argument("--turns", type=int, help="turns for each agent (default: the whole scenario)")
    parser.add_argument("--profile", default="cpu", help="the profile whose engines all agents use")
    parser.add_argument("--agents", type=_read_agents, default=("pipecat", "pipecat-silence"), help=", ".join(PEERS))
    parser.add_argument("--otlp-port", type=int, default=4400, help="the first of the ports for their spans")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--read", type=Path, help="read this folder instead of measuring")
    options = parser.parse_args()
    folder = options.read
    if folder is None:
        folder = options.out / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-beside-{Path(options.scenario).stem}"
        folder.mkdir(parents=True)
        asyncio.run(measure(options, folder))
        print_progress(f"runs: {folder}")
    return print_figures(folder, as_json=options.json)


def _read_agents(text: str) -> tuple[str, ...]:
    names = tuple(filter(None, text.split(",")))
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no agent {unknown[0]!r}; there are: {', '.join(PEERS)}")
    return names


if __name__ == "__main__":
    sys.exit(run_main(main))
