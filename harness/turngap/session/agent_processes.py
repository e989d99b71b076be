"""Everything that must stand while calls are placed: receivers, samplers, the scoring process and the agents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import yaml
from turngap_agent.errors import AgentError, HarnessError

from turngap.caller.connection import listens
from turngap.processes import process_log
from turngap.processes.agent import Agent, serve_command
from turngap.processes.sampler import Sampler
from turngap.processes.span_receiver import SpanReceiver
from turngap.session.agent_run import AgentProcesses, AgentRun
from turngap.session.plan import profile_data
from turngap.session.scoring_process import ScoringProcess
from turngap.store.folder import AGENT_LOG, PROFILE, SPANS

MEMORY_TO_SPARE = 1.1
"""An agent that has had calls is somewhat larger than one that is ready."""


@asynccontextmanager
async def start_agents(
    agent_runs: Sequence[AgentRun], before_agents: Callable[[], Awaitable[None]], says: Callable[[str], None]
) -> AsyncIterator[list[AgentProcesses]]:
    """Start all of it, the agents last, and end it in the opposite order; what was started ends whatever happens.

    `before_agents` is awaited when all but the agents stands: while the machine is as idle as it will be.

    Raises:
        UsageError: a receiver's port is in use.
        AgentError: an agent did not start, or nobody listens where one is said to be.
        HarnessError: something of ours did not start, or the memory is too small for all agents.
    """
    async with AsyncExitStack() as stack:
        receivers, samplers = [], []
        for agent_run in agent_runs:
            receiver = await SpanReceiver.start(agent_run.folder.path / SPANS, agent_run.request.options.otlp_port)
            stack.push_async_callback(receiver.stop)
            receivers.append(receiver)
            sampler = await Sampler.start(agent_run.folder.path)
            stack.push_async_callback(sampler.stop)
            samplers.append(sampler)
        settler = ScoringProcess()
        stack.callback(settler.close)
        await settler.warm_up()
        for agent_run in agent_runs:
            if agent_run.request.url is not None:  # calibrating takes a while, for nothing where nobody listens
                await listens(agent_run.request.url)
        await before_agents()
        processes: list[AgentProcesses] = []
        for agent_run, receiver, sampler in zip(agent_runs, receivers, samplers, strict=True):
            request = agent_run.request
            says(
                agent_run.named(
                    f"starting the agent, profile {request.profile_name}" if not request.url else request.url
                )
            )
            agent = await _agent(agent_run, receiver.endpoint)
            stack.push_async_callback(agent.stop)
            if agent.ours:
                says(agent_run.named(f"agent ready in {agent.ready.ready_s or 0:.1f} s"))
            processes.append(AgentProcesses(receiver, sampler, settler, agent))
            _check_memory(agent, len(agent_runs) - len(processes))
        if len(processes) == 1 and processes[0].agent.pid is not None:
            await processes[0].sampler.watch(processes[0].agent.pid, processes[0].agent.gpu_uuid)
        yield processes


async def _agent(agent_run: AgentRun, endpoint: str) -> Agent:
    request = agent_run.request
    if request.url is not None:
        return Agent.at(request.url)
    profile = agent_run.folder.path / PROFILE
    profile.write_text(yaml.safe_dump(profile_data(request), sort_keys=False), "utf-8")
    assert request.profile is not None
    try:
        return await Agent.start(
            serve_command(profile, request.options.inject),
            log=agent_run.folder.path / AGENT_LOG,
            endpoint=endpoint,
            nice=request.options.agent_nice,
            timeout_s=request.profile.limits.ready_within_s,
        )
    except AgentError as fault:
        raise AgentError(agent_run.named(str(fault))) from None


def _check_memory(agent: Agent, more: int) -> None:
    tree = process_log.ProcessTree.of(agent.pid) if agent.pid is not None and more else None
    use = tree.use() if tree is not None else None
    if use is None:
        return
    needed_mib, free_mib = more * use.rss_mib * MEMORY_TO_SPARE, process_log.available_mib()
    if needed_mib > free_mib:
        raise HarnessError(
            f"{more} more agents of {use.rss_mib:.0f} MiB each do not fit into the {free_mib:.0f} MiB of memory that "
            "are free: sweep fewer settings at a time"
        )
