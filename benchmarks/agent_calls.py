"""One agent of a profile as its own process, and calls of one turn to it: what several benchmarks place."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from turngap.caller.call import place_call
from turngap.caller.priority import raised_priority, short_collections
from turngap.caller.scheduler import Scheduler
from turngap.chaos.conversations import Callers
from turngap.chaos.judgement import find_gaps_ms
from turngap.clock import Clock, SystemClock
from turngap.processes.agent import RunningAgent
from turngap.processes.span_receiver import SpanReceiver
from turngap.scenario import NO_IMPAIRMENTS, LineImpairments
from turngap.session.agent_processes import start_profile
from turngap_agent.profile import Profile

SPANS_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class AgentCalls:
    """A running agent, and its callers."""

    agent: RunningAgent
    callers: Callers
    receiver: SpanReceiver
    scheduler: Scheduler
    clock: Clock

    async def place(self, index: int, line: LineImpairments = NO_IMPAIRMENTS) -> float | None:
        """Place a call of one turn; return its gap in ms, None for no answer. The same index is the same call."""
        planned, clips = self.callers.plan(index, None, 1)
        record = await place_call(
            self.agent.ready.url,
            replace(planned, line=line),
            clips,
            clock=self.clock,
            scheduler=self.scheduler,
            seed=1,
            custom_parameters=self.callers.parameters(1),
            auth_token="",
        )
        await self.receiver.collect(record.call_sid, SPANS_TIMEOUT_S)
        return (find_gaps_ms(record) or [None])[0]


@asynccontextmanager
async def open_agent(profile: Profile, callers: Callers, at_once: int) -> AsyncIterator[AgentCalls]:
    """Start an agent that takes so many calls at once.

    Raises:
        AgentError: it did not start.
    """
    clock = SystemClock()
    data = profile.model_dump(mode="json")
    data["limits"]["simultaneous_calls"] = max(at_once, profile.limits.simultaneous_calls)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="turngap-benchmark-")))
        receiver = await SpanReceiver.start(folder / "spans.jsonl")
        stack.push_async_callback(receiver.stop)
        limit_s = profile.limits.ready_within_s
        agent = await start_profile(data, folder, endpoint=receiver.endpoint, timeout_s=limit_s)
        stack.push_async_callback(agent.stop)
        stack.enter_context(raised_priority())
        scheduler = await stack.enter_async_context(Scheduler(clock).running())
        stack.enter_context(short_collections())
        yield AgentCalls(agent, callers, receiver, scheduler, clock)
