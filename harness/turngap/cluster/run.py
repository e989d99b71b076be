"""Runs a request whose calls several callers place: one run folder, one record, one verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from turngap_agent.errors import TurngapError, UsageError

from turngap.calibration.sentinel import Sentinel
from turngap.clock import Clock
from turngap.cluster import ray_cluster
from turngap.cluster.caller_state import select_worst_calibration
from turngap.cluster.callers import Caller
from turngap.cluster.distribution import Distribution
from turngap.cluster.ray_caller import RayCaller
from turngap.cluster.ray_cluster import Node
from turngap.corpus.clips import Corpus
from turngap.model.callers import CallerFigures
from turngap.session import runner
from turngap.session.agent_run import AgentRun
from turngap.session.request import Request
from turngap.session.run_record import Judge
from turngap.session.runner import FinishedRun, ProgressDisplay, Session
from turngap.store import folder as store


async def run_shared_session(
    session: Session,
    corpus: Corpus,
    display: ProgressDisplay,
    *,
    callers: Sequence[Caller],
    clock: Clock,
    stop: asyncio.Event,
) -> TurngapError | None:
    """Do what `session.runner.run_session` does, for a session of one run, by several callers, which are ended.

    Raises:
        UsageError: a caller has another plan than the run; its folder is removed if it has no turns.
    """
    (agent_run,) = session.agent_runs
    work = Distribution(session, corpus, callers, display, clock, stop)
    display.show_message(f"{len(callers)} callers: " + ", ".join(f"{one.name} on {one.place}" for one in callers))
    try:
        await work.place_all()
    except UsageError:
        runner.remove_empty_folders(session.agent_runs)
        raise
    except asyncio.CancelledError:
        kept = not runner.remove_empty_folders(session.agent_runs)
        raise asyncio.CancelledError(session.interrupted if kept else runner.NOTHING_KEPT) from None
    except TurngapError as error:
        agent_run.progress.errors.append(str(error))
        _record_callers(agent_run, work)
        return error
    _record_callers(agent_run, work)
    return None


async def run_on_callers(
    request: Request,
    corpus: Corpus,
    callers: Sequence[Caller],
    display: ProgressDisplay,
    *,
    clock: Clock,
    stop: asyncio.Event,
    judge: Judge | None = None,
) -> FinishedRun:
    """Run `request`, its calls placed by `callers`, which are ended.

    Raises:
        TurngapError: as `session.runner.run_request` and `run_shared_session`.
    """
    place = partial(run_shared_session, callers=callers)
    return await runner.run_request(request, corpus, display, clock=clock, stop=stop, judge=judge, place=place)


def _record_callers(agent_run: AgentRun, work: Distribution) -> None:
    """Record the callers, and as the instrument's calibration the worst of theirs."""
    progress, figures = agent_run.progress, work.summarise()
    progress.calibration = select_worst_calibration(work.calibrations)
    progress.sentinel = Sentinel(agent_run.folder.path / store.SENTINEL).errors(progress.turns)
    agent_run.record.environment["caller_priority"] = ", ".join(sorted({one.priority for one in figures}))
    earlier = agent_run.request.resumed.record.callers if agent_run.request.resumed is not None else ()
    agent_run.record = agent_run.record.model_copy(update={"callers": (*earlier, *figures)})
    progress.notes += [describe_caller(one) for one in figures]


def describe_caller(figures: CallerFigures) -> str:
    """Return a line on a caller, for the run's notes."""
    late = "" if figures.send is None else f", frames late by {figures.send.p99_ms:.2f} ms at p99"
    sentinel = "" if figures.sentinel_p99_ms is None else f", sentinel's error {figures.sentinel_p99_ms:.2f} ms at p99"
    return f"{figures.name} ({figures.place}): {figures.calls} calls, {figures.turns} turns{late}{sentinel}"


@contextmanager
def connect_nodes(address: str, scenario: Path | None) -> Iterator[tuple[Node, ...]]:
    """Yield the nodes of the cluster at `address`, connected and checked; () for "": this process does the work.

    Raises:
        UsageError: there is no such cluster, or its nodes differ from this machine; nothing was placed.
        HarnessError: a node does not answer.
    """
    if not address:
        yield ()
        return
    with ray_cluster.connected(address) as nodes:
        ray_cluster.check_nodes(nodes, scenario)
        yield nodes


async def run_request(
    request: Request,
    corpus: Corpus,
    nodes: Sequence[Node],
    display: ProgressDisplay,
    *,
    clock: Clock,
    stop: asyncio.Event,
) -> FinishedRun:
    """Run `request` from this process or, with `nodes`, with a caller on each of them.

    Raises:
        TurngapError: as `session.runner.run_request` and `run_on_callers`.
    """
    if not nodes:
        return await runner.run_request(request, corpus, display, clock=clock, stop=stop)
    return await run_on_callers(request, corpus, start_callers(nodes), display, clock=clock, stop=stop)


def start_callers(nodes: Sequence[Node]) -> list[Caller]:
    """Start a caller on each node."""
    return [RayCaller(f"caller {number}", node) for number, node in enumerate(nodes, 1)]


async def run_session_on_nodes(
    session: Session,
    corpus: Corpus,
    display: ProgressDisplay,
    *,
    nodes: Sequence[Node],
    clock: Clock,
    stop: asyncio.Event,
) -> TurngapError | None:
    """Do what `run_shared_session` does, with a caller on each of the nodes."""
    callers = start_callers(nodes)
    return await run_shared_session(session, corpus, display, callers=callers, clock=clock, stop=stop)
