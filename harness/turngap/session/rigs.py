"""Everything that must stand while calls are placed: receivers, samplers, the scoring process and the agents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import yaml
from turngap_agent.errors import AgentError, HarnessError

from turngap.caller.connection import listens
from turngap.processes import process
from turngap.processes.agent import Agent, serve_command
from turngap.processes.sampler import Sampler
from turngap.processes.spans import SpanReceiver
from turngap.session.agent_run import Rig, Subject
from turngap.session.plan import profile_data
from turngap.session.scorer import Settler
from turngap.store.folder import AGENT_LOG, PROFILE, SPANS

MEMORY_TO_SPARE = 1.1
"""An agent that has had calls is somewhat larger than one that is ready."""


@asynccontextmanager
async def standing(
    subjects: Sequence[Subject], before_agents: Callable[[], Awaitable[None]], says: Callable[[str], None]
) -> AsyncIterator[list[Rig]]:
    """Start all of it, the agents last, and end it in the opposite order; what was started ends whatever happens.

    `before_agents` is awaited when all but the agents stands: while the machine is as idle as it will be.

    Raises:
        UsageError: a receiver's port is in use.
        AgentError: an agent did not start, or nobody listens where one is said to be.
        HarnessError: something of ours did not start, or the memory is too small for all agents.
    """
    async with AsyncExitStack() as stack:
        receivers, samplers = [], []
        for subject in subjects:
            receiver = await SpanReceiver.start(subject.folder.path / SPANS, subject.request.options.otlp_port)
            stack.push_async_callback(receiver.stop)
            receivers.append(receiver)
            sampler = await Sampler.start(subject.folder.path)
            stack.push_async_callback(sampler.stop)
            samplers.append(sampler)
        settler = Settler()
        stack.callback(settler.close)
        await settler.warm_up()
        for subject in subjects:
            if subject.request.url is not None:  # calibrating takes a while, for nothing where nobody listens
                await listens(subject.request.url)
        await before_agents()
        rigs: list[Rig] = []
        for subject, receiver, sampler in zip(subjects, receivers, samplers, strict=True):
            request = subject.request
            says(
                subject.named(f"starting the agent, profile {request.profile_name}" if not request.url else request.url)
            )
            agent = await _agent(subject, receiver.endpoint)
            stack.push_async_callback(agent.stop)
            if agent.ours:
                says(subject.named(f"agent ready in {agent.ready.ready_s or 0:.1f} s"))
            rigs.append(Rig(receiver, sampler, settler, agent))
            _check_memory(agent, len(subjects) - len(rigs))
        if len(rigs) == 1 and rigs[0].agent.pid is not None:
            await rigs[0].sampler.watch(rigs[0].agent.pid, rigs[0].agent.gpu_uuid)
        yield rigs


async def _agent(subject: Subject, endpoint: str) -> Agent:
    request = subject.request
    if request.url is not None:
        return Agent.at(request.url)
    profile = subject.folder.path / PROFILE
    profile.write_text(yaml.safe_dump(profile_data(request), sort_keys=False), "utf-8")
    assert request.profile is not None
    try:
        return await Agent.start(
            serve_command(profile, request.options.inject),
            log=subject.folder.path / AGENT_LOG,
            endpoint=endpoint,
            nice=request.options.agent_nice,
            timeout_s=request.profile.limits.ready_within_s,
        )
    except AgentError as fault:
        raise AgentError(subject.named(str(fault))) from None


def _check_memory(agent: Agent, more: int) -> None:
    tree = process.ProcessTree.of(agent.pid) if agent.pid is not None and more else None
    use = tree.use() if tree is not None else None
    if use is None:
        return
    needed_mib, free_mib = more * use.rss_mib * MEMORY_TO_SPARE, process.available_mib()
    if needed_mib > free_mib:
        raise HarnessError(
            f"{more} more agents of {use.rss_mib:.0f} MiB each do not fit into the {free_mib:.0f} MiB of memory that "
            "are free: sweep fewer settings at a time"
        )
