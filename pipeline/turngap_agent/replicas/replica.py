"""One replica of an engine, in a process that Ray Serve places: it builds the engine, and works for the agents."""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import AsyncGenerator
from typing import Any

from turngap_agent import building
from turngap_agent.engines import EngineSettings
from turngap_agent.errors import TurngapError, one_line
from turngap_agent.own_process.frames import FACTS, RESULTS, STREAMS
from turngap_agent.own_process.sent_requests import attach_functions

Message = tuple[Any, ...]
"""("item", value), ("fact", name, value), ("sentence_end", probability) or ("failed", text)."""


class EngineReplica:
    """The engine, warm; made on the replica's own event loop."""

    def __init__(self, settings: bytes) -> None:
        """Build the engine; `settings` are pickled."""
        self._settings: EngineSettings = pickle.loads(settings)  # of the agent that places the replica
        self._engine: Any = building.build_here(self._settings)

    async def reconfigure(self, _: dict[str, Any]) -> None:
        """Warm the engine up: Ray Serve calls it before the replica gets its first request."""
        await self._engine.warm_up()

    async def describe(self) -> tuple[str, tuple[str, ...], dict[str, Any], bool]:
        """Return the engine's line, the methods it has, what it states of itself, and whether it forgets calls."""
        engine = self._engine
        methods = tuple(name for name in (*RESULTS, *STREAMS) if hasattr(engine, name))
        facts = {name: getattr(engine, name) for name in FACTS if hasattr(engine, name)}
        return engine.describe(), methods, facts, hasattr(engine, "forget")

    async def ask(self, method: str, arguments: tuple[Any, ...]) -> list[Message]:
        """Return what a method with one result said on the way, and its result or failure last."""
        said: list[Message] = []
        try:
            result = await getattr(self._engine, method)(*(attach_functions(one, said.append) for one in arguments))
        except Exception as error:  # noqa: BLE001  # whatever an engine raises is its answer
            return [*said, ("failed", _describe(error))]
        return [*said, ("item", result)]

    async def stream(self, method: str, arguments: tuple[Any, ...]) -> AsyncGenerator[Message, None]:
        """Yield what a method yields and says on the way; a failure last."""
        said: list[Message] = []
        try:
            async with contextlib.aclosing(
                getattr(self._engine, method)(*(attach_functions(one, said.append) for one in arguments))
            ) as pieces:
                async for piece in pieces:
                    for message in said:
                        yield message
                    said.clear()
                    yield ("item", piece)
        except Exception as error:  # noqa: BLE001  # whatever an engine raises is its answer
            said.append(("failed", _describe(error)))
        for message in said:
            yield message

    async def identify(self) -> int:
        """Return the number of the replica's process."""
        return os.getpid()

    async def forget(self, call_block: str) -> None:
        """Let the context of a call that has ended make room for another."""
        self._engine.forget(call_block)


def _describe(error: Exception) -> str:
    text = one_line(error, 300)
    return text if isinstance(error, TurngapError) else f"{type(error).__name__}: {text}"
