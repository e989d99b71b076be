"""A call over a real WebSocket to a small agent of a test's own.

The caller's clock runs ten times as fast as the wall's, so that a call of seconds takes tenths.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import numpy as np
from turngap.caller.call import place_call
from turngap.caller.scheduler import Scheduler
from turngap.model.records import CallRecord, Clip
from turngap.network import NetworkProfile
from turngap.scenario import NO_IMPAIRMENTS, LineImpairments, PlannedCall, Turn
from turngap_agent.telephony import mulaw
from turngap_agent.tracing import Span
from websockets.asyncio.server import Request, Response, ServerConnection, serve

SPEED = 10
Json = dict[str, Any]
Agent = Callable[[ServerConnection, list[Json]], Awaitable[None]]
TONE = mulaw.encode((np.sin(np.arange(4000) / 5) * 8000).astype(np.int16))


class FastClock:
    """The host's clock, ten times as fast."""

    def now_ns(self) -> int:
        return time.perf_counter_ns() * SPEED

    def unix_ns(self) -> int:
        return time.time_ns()

    async def sleep_until_ns(self, deadline_ns: int) -> None:
        while self.now_ns() < deadline_ns:  # noqa: ASYNC110  # a spin
            await asyncio.sleep(0)

    async def sleep_ns(self, duration_ns: int) -> None:
        await asyncio.sleep(duration_ns / SPEED / 1e9)

    def rest(self) -> None:
        """Nothing."""


def clip(ms: int = 200) -> Clip:
    pcm = (np.sin(np.arange(ms * 8) / 3) * 6000).astype(np.int16)
    return Clip("clip", pcm, 0, "hello", 0, 0, "test", True)


def turn(key: str = "a", **keys: Any) -> Turn:
    return Turn.model_validate({"id": key, "say": "hello", "pause_ms": 100, **keys})


def media(message: Json, payload: bytes = TONE) -> str:
    coded = base64.b64encode(payload).decode()
    return json.dumps({"event": "media", "streamSid": message["streamSid"], "media": {"payload": coded}})


def loud(message: Json) -> bool:
    return bool(np.abs(mulaw.decode(base64.b64decode(message["media"]["payload"])).astype(int)).max() > 2000)


async def answering(socket: ServerConnection, log: list[Json]) -> None:
    """Says its tone 200 ms after each utterance, with a mark."""
    spoke, silent = False, 0
    async for text in socket:
        message = json.loads(text)
        log.append(message)
        if message["event"] == "media":
            is_loud = loud(message)
            spoke, silent = spoke or is_loud, 0 if is_loud else silent + 1
            if spoke and silent == 10:
                spoke = False
                await socket.send(media(message))
                name = {"name": f"end {message['sequenceNumber']}"}
                await socket.send(json.dumps({"event": "mark", "streamSid": message["streamSid"], "mark": name}))


def call(
    agent: Agent,
    turns: tuple[Turn, ...] = (turn(),),
    *,
    probe: bool = False,
    cancel_after: int | None = None,
    process_request: Callable[[ServerConnection, Request], Response | None] | None = None,
    auth_token: str | None = None,
    seed: int = 1,
    network: NetworkProfile | None = None,
    clips: dict[str, Clip] | None = None,
    line: LineImpairments = NO_IMPAIRMENTS,
    hang_up: Literal["stop", "drop"] = "stop",
    waits_for_content: bool = False,
    spans_so_far: Callable[[str], Sequence[Span]] | None = None,
) -> tuple[CallRecord, list[Json]]:
    """Place one call to `agent` on a free port; also return what the agent was sent."""
    log: list[Json] = []

    async def main() -> CallRecord:
        clock = FastClock()
        async with (
            serve(lambda socket: agent(socket, log), "127.0.0.1", 0, process_request=process_request) as server,
            Scheduler(clock).running() as scheduler,
        ):
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/twilio/media"
            call_clips = clips or {one.key: clip() for one in turns}
            planned = PlannedCall(
                7, turns, probe, line=line, hang_up=hang_up, network=network, waits_for_content=waits_for_content
            )
            placed = place_call(
                url,
                planned,
                call_clips,
                clock=clock,
                scheduler=scheduler,
                seed=seed,
                auth_token=auth_token or "",
                spans_so_far=spans_so_far,
            )
            task = asyncio.create_task(placed)
            if cancel_after is not None:
                while len(log) < cancel_after:  # noqa: ASYNC110  # what the agent has read is no event
                    await asyncio.sleep(0.001)
                task.cancel()
            return await asyncio.wait_for(task, 20)

    return asyncio.run(main()), log


def refused(url: str) -> CallRecord:
    async def main() -> CallRecord:
        clock = FastClock()
        async with Scheduler(clock).running() as scheduler:
            planned = PlannedCall(0, (turn(),), probe=False)
            return await place_call(url, planned, {"a": clip()}, clock=clock, scheduler=scheduler, seed=1)

    return asyncio.run(main())
