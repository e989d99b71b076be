"""The engine's side: `python -m turngap_agent.own_process FD` builds the engine that it is sent, and works for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from functools import partial
from typing import Any

from turngap_agent import building
from turngap_agent.engines import EngineSettings
from turngap_agent.errors import TurngapError, one_line
from turngap_agent.own_process.frames import FACTS, RESULTS, STREAMS, pack, read
from turngap_agent.own_process.sent_requests import attach_functions
from turngap_agent.telemetry import logs


class Works:
    """The requests of the agent that are under way."""

    def __init__(self, engine: Any, writer: asyncio.StreamWriter) -> None:
        self._engine, self._writer = engine, writer
        self._tasks: dict[int, asyncio.Task[str | None]] = {}
        self._wanted: dict[int, asyncio.Semaphore] = {}

    def take(self, message: tuple[Any, ...]) -> None:
        """Take a message of the agent."""
        match message:
            case ("start", number, method, arguments):
                self._wanted[number] = asyncio.Semaphore(0)
                task = self._tasks[number] = asyncio.create_task(self._work(number, method, arguments))
                # Not in the task itself: one that is cancelled before it has begun never runs.
                task.add_done_callback(partial(self._end, number))
            case ("next", number) if number in self._wanted:
                self._wanted[number].release()
            case ("cancel", number) if number in self._tasks:
                self._tasks[number].cancel()
            case ("forget", call_block):
                self._engine.forget(call_block)

    async def _work(self, number: int, method: str, arguments: tuple[Any, ...]) -> str | None:
        """Do the work; return the error that ended it."""
        try:
            work = getattr(self._engine, method)(*(self._equip(number, argument) for argument in arguments))
            if method in STREAMS:
                async with contextlib.aclosing(work) as pieces:
                    await self._wanted[number].acquire()
                    async for piece in pieces:
                        self._send(("item", number, piece))
                        await self._wanted[number].acquire()
            else:
                self._send(("item", number, await work))
        except asyncio.CancelledError:
            return None
        except BaseException as error:  # noqa: BLE001  # whatever an engine raises is its answer
            text = one_line(error, 300)
            return text if isinstance(error, TurngapError) else f"{type(error).__name__}: {text}"
        return None

    def _end(self, number: int, task: asyncio.Task[str | None]) -> None:
        del self._tasks[number], self._wanted[number]
        self._send(("end", number, None if task.cancelled() else task.result()))

    def _equip(self, number: int, argument: Any) -> Any:
        return attach_functions(argument, lambda message: self._send((message[0], number, *message[1:])))

    def _send(self, message: tuple[Any, ...]) -> None:
        self._writer.write(pack(message))


async def serve(end: socket.socket) -> None:
    """Build the engine, and work until the agent has gone."""
    reader, writer = await asyncio.open_unix_connection(sock=end)
    (settings,) = await read(reader)
    assert isinstance(settings, EngineSettings)
    try:
        engine: Any = await asyncio.to_thread(building.build_here, settings)
        await engine.warm_up()
    except Exception as error:  # noqa: BLE001  # the agent gets it as one line
        why = f"{settings.stage}: engine {settings.engine} does not start ({type(error).__name__}: {one_line(error)})"
        writer.write(pack(("failed", str(error) if isinstance(error, TurngapError) else why)))
        await writer.drain()
        return
    methods = tuple(name for name in (*RESULTS, *STREAMS) if hasattr(engine, name))
    facts = {name: getattr(engine, name) for name in FACTS if hasattr(engine, name)}
    writer.write(pack(("ready", engine.describe(), methods, facts, hasattr(engine, "forget"))))
    works = Works(engine, writer)
    with contextlib.suppress(EOFError):
        while True:
            works.take(await read(reader))


def main() -> None:
    """Run until the agent closes the socket; the engine's threads are not waited for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the agent's to handle
    logs.configure()
    asyncio.run(asyncio.wait_for(_until_gone(), None))


async def _until_gone() -> None:
    try:
        await serve(socket.socket(fileno=int(sys.argv[1])))
    finally:
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
