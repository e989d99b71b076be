"""Everything a run needs to be standing while calls are placed: receiver, samplers, scoring process and the agent."""

from __future__ import annotations

import asyncio
import contextlib
import re
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import yaml

from harness.rig.agent import Agent, serve_command
from harness.rig.sampler import Sampler
from harness.rig.spans import SpanReceiver
from harness.run.request import Request, profile_data
from harness.run.settle import Settler
from harness.store.folder import AGENT_LOG, PROFILE, SPANS, RunFolder
from pipeline.tracing import LAG_GAUGE


@dataclass(frozen=True, slots=True)
class Rig:
    """What stands."""

    receiver: SpanReceiver
    sampler: Sampler
    settler: Settler
    agent: Agent


@asynccontextmanager
async def standing(
    request: Request, folder: RunFolder, before_agent: Callable[[], Awaitable[None]]
) -> AsyncIterator[Rig]:
    """Start all of it, the agent last, and end it in the opposite order; what was started ends whatever happens.

    `before_agent` is awaited when all but the agent stands: while the machine is as idle as it will be.

    Raises:
        UsageError: the receiver's port is in use.
        AgentError: the agent did not start.
        HarnessError: something of ours did not start.
    """
    async with AsyncExitStack() as stack:
        receiver = await SpanReceiver.start(folder.path / SPANS, request.options.otlp_port)
        stack.push_async_callback(receiver.stop)
        sampler = await Sampler.start(folder.path)
        stack.push_async_callback(sampler.stop)
        settler = Settler()
        stack.callback(settler.close)
        await settler.warm_up()
        await before_agent()
        agent = await _agent(request, folder, receiver.endpoint)
        stack.push_async_callback(agent.stop)
        if agent.pid is not None:
            await sampler.watch(agent.pid)
        yield Rig(receiver, sampler, settler, agent)


async def loop_lag_p99_ms(agent: Agent) -> float | None:
    """What the agent says of its own event loop; None where it does not."""
    if agent.ready.http is None:
        return None
    with contextlib.suppress(OSError, ValueError, urllib.error.URLError):
        text = await asyncio.to_thread(_get, f"{agent.ready.http}/metrics")
        found = re.search(rf"^{LAG_GAUGE}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
        value = float(found[1]) * 1e3 if found else float("nan")
        return value if value == value else None  # nan until the first sample
    return None


async def _agent(request: Request, folder: RunFolder, endpoint: str) -> Agent:
    if request.url is not None:
        return Agent.at(request.url)
    profile = folder.path / PROFILE
    profile.write_text(yaml.safe_dump(profile_data(request), sort_keys=False), "utf-8")
    assert request.profile is not None
    return await Agent.start(
        serve_command(profile, request.options.inject),
        log=folder.path / AGENT_LOG,
        endpoint=endpoint,
        nice=request.options.agent_nice,
        timeout_s=request.profile.limits.ready_within_s,
    )


def _get(url: str) -> str:
    # The user's proxy has no business between two processes of one machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=2.0) as answer:
        text: str = answer.read().decode("utf-8", "replace")
        return text
