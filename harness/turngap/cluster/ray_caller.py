"""A caller on a node of a Ray cluster: an actor that keeps a caller process there and passes its messages on.

The calls are not placed in the actor's own process, where Ray's threads would make them late.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from collections.abc import AsyncIterator, Iterator
from typing import Any

from turngap_agent.errors import one_line

from turngap.cluster.callers import CallerLostError, CallerProcess
from turngap.cluster.messages import FromCaller, ToCaller
from turngap.cluster.ray_cluster import Node, import_ray, on_node
from turngap.processes.pickled_messages import encode_message

METHODS_AT_ONCE = 3
"""`receive`, which lasts as long as the caller, and two others."""
END_S = 30.0


class CallerActor:
    """On the node: the caller process, and the door to it."""

    def __init__(self) -> None:
        self._process = CallerProcess()

    def receive(self) -> Iterator[bytes]:
        """Yield the caller's messages, pickled, until it has ended."""
        for message in self._process.receive():
            yield pickle.dumps(message, protocol=5)

    def send(self, data: bytes) -> None:
        """Send the caller a message."""
        self._process.send(data)

    def end(self) -> None:
        """End the caller."""
        self._process.end()


class RayCaller:
    """A caller on a node."""

    def __init__(self, name: str, node: Node) -> None:
        self.name, self.place = name, node.label
        ray = import_ray()
        self._ray = ray
        options = on_node(node, num_cpus=1, max_restarts=0, max_concurrency=METHODS_AT_ONCE)
        self._actor: Any = ray.remote(CallerActor).options(**options).remote()

    async def receive(self) -> AsyncIterator[FromCaller]:
        """Yield its messages.

        Raises:
            CallerLostError: its process, or its node, is gone.
        """
        try:
            async for reference in self._actor.receive.remote():
                message: FromCaller = pickle.loads(await reference)  # of our own caller
                yield message
        except self._ray.exceptions.RayError as error:
            raise CallerLostError(describe_loss(error)) from None
        raise CallerLostError("its process ended")

    async def send(self, message: ToCaller) -> None:
        """Send it a message; `receive` says so if it is gone."""
        try:
            await self._actor.send.remote(encode_message(message))
        except self._ray.exceptions.RayError:
            return

    async def end(self) -> None:
        """End it, and its actor."""
        with contextlib.suppress(self._ray.exceptions.RayError, TimeoutError):  # it is gone, or will be now
            await asyncio.wait_for(self._actor.end.remote(), END_S)
        self._ray.kill(self._actor, no_restart=True)


def describe_loss(error: BaseException) -> str:
    """Return why a caller is gone, in a few words: Ray's own messages take a page."""
    kind = type(error).__name__
    text = one_line(error)
    if "node" in text.lower() and ("died" in text or "dead" in text):
        return "its node died"
    if kind in ("ActorDiedError", "RayActorError", "WorkerCrashedError"):
        return "its process on the node died"
    return f"{kind}: {text[:200]}"
