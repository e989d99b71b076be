"""The agent's side of an engine in a process of its own: the engine's interface, answered by that process.

A process that ends, or is killed, is started again at once, then after 1, 2, 4 … s. Until it is warm, requests wait,
those too that it had not begun to answer; where loading takes long, they fail at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import Any

from turngap_agent import clock, meter
from turngap_agent.engines import EngineSettings
from turngap_agent.errors import EngineError
from turngap_agent.llm import Request
from turngap_agent.own_process.frames import STREAMS, pack, read, read_blocking
from turngap_agent.own_process.sent_requests import TOLD, find_request, pass_on, strip_functions

LONGEST_WAIT_S = 30.0
HELD_S = 2.0
"""If loading took no longer, requests wait for the next process: callers hear an answer instead of an apology."""
_log = logging.getLogger("turngap.engines")


@dataclass(slots=True)
class _Asked:
    """A request that the process has not ended yet."""

    messages: asyncio.Queue[tuple[Any, ...]]
    working: contextlib.ExitStack
    request: Request | None


class ProcessEngine:
    """An engine of `settings`; the methods of its kind are there as soon as the process is ready."""

    def __init__(self, settings: EngineSettings) -> None:
        """Start the process, and wait until it is warm; blocks.

        Raises:
            EngineError: the engine does not load there.
        """
        self._settings = settings
        self._asked: dict[int, _Asked] = {}
        self._number = 0
        self._closed = False
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._failures = 0
        self._warm: asyncio.Event | None = None
        """Set while there is a process; None before the first is attached."""
        self._load_s = 0.0
        self._end = self._start()

    def describe(self) -> str:
        """Return the engine's own line."""
        return f"{self._text}, in a process of its own"

    def process_ids(self) -> tuple[int, ...]:
        """Return the number of its process; none while there is none."""
        return (self._process.pid,) if self._process.poll() is None else ()

    async def warm_up(self) -> None:
        """Take up the work; the engine itself is warm."""
        await self._attach()

    async def restart(self) -> None:
        """Kill the process, and return when another is warm.

        Raises:
            EngineError: it does not start.
        """
        if self._reading is not None:
            self._reading.cancel()
        self._drop("it was stuck, and was killed")
        await asyncio.to_thread(self._kill)
        try:
            self._end = await asyncio.to_thread(self._start)
        except EngineError:
            self._failures += 1
            self._reading = asyncio.create_task(self._start_again())
            raise
        await self._attach()

    async def close(self) -> None:
        """End the process."""
        self._closed = True
        if self._reading is not None:
            self._reading.cancel()
        self._drop("the engine is closed")
        await asyncio.to_thread(self._kill)

    def _start(self) -> socket.socket:
        started_ns = clock.now_ns()
        own, other = socket.socketpair()
        command = [sys.executable, "-m", "turngap_agent.own_process", str(other.fileno())]
        self._process = subprocess.Popen(command, pass_fds=(other.fileno(),), stdout=2)
        other.close()
        stage = self._settings.stage
        try:
            own.sendall(pack((self._settings.model_copy(update={"own_process": False}),)))
            answer = read_blocking(own)
        except (EOFError, OSError):
            raise EngineError(f"{stage}: its process ended with code {self._kill()} while it was loading") from None
        if answer[0] == "failed":
            self._kill()
            raise EngineError(answer[1])
        self._load_s = (clock.now_ns() - started_ns) / 1e9
        _, self._text, methods, facts, forgets = answer
        for name in methods:
            setattr(self, name, partial(self._stream if name in STREAMS else self._result, name))
        for name, value in facts.items():
            setattr(self, name, value)
        if forgets:
            self.forget = partial(self._send, "forget")
        return own

    def _kill(self) -> int:
        self._process.kill()
        return self._process.wait()

    async def _attach(self) -> None:
        reader, self._writer = await asyncio.open_unix_connection(sock=self._end)
        self._reading = asyncio.create_task(self._read(reader))
        self._warm = self._warm or asyncio.Event()
        self._warm.set()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(EOFError):
            while True:
                self._take(await read(reader))
                self._failures = 0
        code = await asyncio.to_thread(self._kill)
        self._drop(f"its process ended with code {code}, and is started again", again=True)
        await self._start_again()

    async def _start_again(self) -> None:
        """Start the process until it is warm."""
        while not self._closed:
            wait_s = min(LONGEST_WAIT_S, 2.0 ** (self._failures - 1)) if self._failures else 0.0
            self._failures += 1
            _log.error("%s: the engine's process ended; it is started again in %g s", self._settings.stage, wait_s)
            await asyncio.sleep(wait_s)
            try:
                self._end = await asyncio.to_thread(self._start)
            except EngineError as error:
                _log.error("%s", error)  # one line
                continue
            await self._attach()
            _log.warning("%s: the engine's process is warm again", self._settings.stage)
            return

    def _take(self, message: tuple[Any, ...]) -> None:
        asked = self._asked.get(message[1])
        if asked is None:
            return
        match message:
            case ("item", _, _):
                asked.messages.put_nowait(message)
            case (kind, _, *values) if kind in TOLD:
                pass_on(asked.request, (kind, *values))
            case ("end", number, _):
                asked.messages.put_nowait(message)
                asked.working.close()
                del self._asked[number]

    def _drop(self, reason: str, *, again: bool = False) -> None:
        """End all requests with an error; `again`: those that have no answer yet may be sent to the next process."""
        if self._writer is not None:
            self._writer.close()
        if self._warm is not None:
            self._warm.clear()
        self._writer = None
        for number, asked in self._asked.items():
            asked.messages.put_nowait(("died" if again else "end", number, f"{self._settings.stage}: {reason}"))
            asked.working.close()
        self._asked.clear()

    def _send(self, *message: Any) -> None:
        if self._writer is not None:
            self._writer.write(pack(message))

    async def _ask(self, method: str, arguments: tuple[Any, ...]) -> tuple[int, asyncio.Queue[tuple[Any, ...]]]:
        if self._writer is None and self._warm is not None and self._may_wait:
            await self._warm.wait()
        if self._writer is None:
            raise EngineError(f"{self._settings.stage}: its process is being started again")
        self._number += 1
        working = contextlib.ExitStack()
        working.enter_context(meter.current().busy())
        asked = _Asked(asyncio.Queue(), working, find_request(arguments))
        self._asked[self._number] = asked
        self._send("start", self._number, method, tuple(map(strip_functions, arguments)))
        return self._number, asked.messages

    @property
    def _may_wait(self) -> bool:
        return not self._closed and self._load_s <= HELD_S

    async def _result(self, method: str, *arguments: Any) -> Any:
        for first in (True, False):
            number, messages = await self._ask(method, arguments)
            try:
                message = await messages.get()
            except asyncio.CancelledError:
                self._send("cancel", number)
                raise
            if not (first and message[0] == "died" and self._may_wait):
                break
        if message[0] != "item":
            raise EngineError(message[2] or f"{self._settings.stage}: its process returned nothing")
        return message[2]

    async def _stream(self, method: str, *arguments: Any) -> AsyncGenerator[Any, None]:
        number, messages = await self._ask(method, arguments)
        untouched = True
        try:
            while True:
                self._send("next", number)
                message = await messages.get()
                if message[0] == "item":
                    untouched = False
                    yield message[2]
                elif message[0] == "died" and untouched and self._may_wait:
                    untouched = False  # once: its own request may be what ends the process
                    number, messages = await self._ask(method, arguments)
                else:
                    break
        finally:
            if number in self._asked:
                self._send("cancel", number)
        if message[2] is not None:
            raise EngineError(message[2])
