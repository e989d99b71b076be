"""Starts and stops what a session needs beside its calls: span receivers, samplers and agents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from turngap_agent.errors import AgentError, HarnessError

from turngap.caller.connection_errors import check_listening
from turngap.caller.dialects.registry import SIP
from turngap.caller.sip.signalling import check_answers
from turngap.processes import process_log
from turngap.processes.agent import READY_TIMEOUT_S, RunningAgent, serve_command
from turngap.processes.sampler import Sampler
from turngap.processes.span_receiver import SpanReceiver
from turngap.session.agent_run import AgentRun
from turngap.store.folder import AGENT_LOG, PROFILE, SPANS

MEMORY_RESERVE = 1.1
"""An agent grows somewhat with its calls: this times the memory it has when it is ready."""


@dataclass(frozen=True, slots=True)
class AgentProcesses:
    """The processes of one agent: itself, the receiver of its spans, and the sampler of its CPU, memory and GPU."""

    receiver: SpanReceiver
    sampler: Sampler
    agent: RunningAgent


async def check_reachable(url: str, dialect: str) -> None:
    """Return if something answers at the URL of an agent that runs already; `dialect` is the one that will be spoken.

    Raises:
        AgentError: nothing does.
    """
    if dialect == SIP:
        await check_answers(url)
    else:
        await check_listening(url, dialect)


@asynccontextmanager
async def start_agents(
    agent_runs: Sequence[AgentRun],
    show_message: Callable[[str], None],
    before_agents: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[Mapping[str, AgentProcesses]]:
    """Start the processes of every run, the agents last; yield them by the run's name. All are stopped at the end.

    `before_agents` is awaited once the receivers and samplers run: the machine is never again as idle as then.

    Raises:
        UsageError: a receiver's port is in use.
        AgentError: an agent did not start, or nothing listens at its URL.
        HarnessError: a receiver or sampler did not start, or the memory is too small for all agents.
    """
    async with AsyncExitStack() as stack:
        receivers, samplers = [], []
        for agent_run in agent_runs:
            request = agent_run.request
            receiver = await SpanReceiver.start(
                agent_run.folder.path / SPANS,
                request.options.otlp_port,
                mapping=request.mapping,
                other_boots=request.url is not None,
            )
            stack.push_async_callback(receiver.stop)
            receivers.append(receiver)
            sampler = await Sampler.start(agent_run.folder.path)
            stack.push_async_callback(sampler.stop)
            samplers.append(sampler)
        for agent_run in agent_runs:
            if agent_run.request.url is not None:  # before the calibration, which takes a while
                await check_reachable(agent_run.request.url, agent_run.request.dialect)
        if before_agents is not None:
            await before_agents()
        processes: dict[str, AgentProcesses] = {}
        for agent_run, receiver, sampler in zip(agent_runs, receivers, samplers, strict=True):
            text = agent_run.request.url or f"starting the agent, profile {agent_run.request.profile_name}"
            show_message(agent_run.prefixed(text))
            agent = await _start_agent(agent_run, receiver.endpoint)
            stack.push_async_callback(agent.stop)
            if agent.ours:
                show_message(agent_run.prefixed(f"agent ready in {agent.ready.ready_s or 0:.1f} s"))
            processes[agent_run.name] = AgentProcesses(receiver, sampler, agent)
            _check_memory(agent, len(agent_runs) - len(processes))
            if len(agent_runs) == 1 and agent.pid is not None:
                await sampler.watch(agent.pid, agent.gpu_uuid)
        yield processes


async def start_profile(
    profile: Mapping[str, Any],
    folder: Path,
    *,
    endpoint: str,
    inject: tuple[str, ...] = (),
    inject_faults: bool = False,
    nice: int = 0,
    timeout_s: float = READY_TIMEOUT_S,
    live_spans: bool = False,
    sample_stacks: bool = False,
) -> RunningAgent:
    """Start the agent of a profile, given as data; `folder` gets its `profile.yaml` and `agent.log`.

    Its spans go to `endpoint`: with `live_spans` turn by turn, else at the end of each call. With `inject_faults` its
    callers may ask for faults. With `sample_stacks` it records what its threads do.

    Raises:
        AgentError: it did not start, or was not ready in time.
    """
    file = folder / PROFILE
    file.write_text(yaml.safe_dump(dict(profile), sort_keys=False), "utf-8")
    command = serve_command(
        file, inject, live_spans=live_spans, inject_faults=inject_faults, sample_stacks=sample_stacks
    )
    return await RunningAgent.start(command, log=folder / AGENT_LOG, endpoint=endpoint, nice=nice, timeout_s=timeout_s)


async def _start_agent(agent_run: AgentRun, endpoint: str) -> RunningAgent:
    request = agent_run.request
    if request.url is not None:
        return RunningAgent.at(request.url)
    assert request.profile is not None
    try:
        return await start_profile(
            request.profile_data,
            agent_run.folder.path,
            endpoint=endpoint,
            inject=request.options.inject,
            nice=request.options.agent_nice,
            timeout_s=request.profile.limits.ready_within_s,
            sample_stacks=request.options.trace_worst > 0,
        )
    except AgentError as error:
        raise AgentError(agent_run.prefixed(str(error))) from None


def _check_memory(agent: RunningAgent, remaining: int) -> None:
    """Raises: HarnessError: `remaining` more agents like this one do not fit into the free memory."""
    tree = process_log.ProcessTree.of(agent.pid) if agent.pid is not None and remaining else None
    use = tree.use() if tree is not None else None
    if use is None:
        return
    needed_mib, free_mib = remaining * use.rss_mib * MEMORY_RESERVE, process_log.available_mib()
    if needed_mib > free_mib:
        raise HarnessError(
            f"{remaining} more agents of {use.rss_mib:.0f} MiB each do not fit into the {free_mib:.0f} MiB of free "
            "memory: sweep fewer settings at a time"
        )
