"""The driver's side of a caller process: starting it, and the messages from and to it."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Protocol, cast

from turngap_agent.errors import HarnessError

from turngap.cluster.messages import FromCaller, ToCaller
from turngap.processes import child
from turngap.processes.pickled_messages import encode_message, read_messages

MODULE = "turngap.cluster.caller_process"
END_S = 20.0
"""A caller that was told to end has so long for its last call and its own processes."""


class CallerLostError(HarnessError):
    """A caller, or the node it was on, is gone; its calls under way are lost."""

    code = "harness.caller-lost"


class Caller(Protocol):
    """A caller, wherever it is."""

    @property
    def name(self) -> str:
        """Its name, unique in the run."""
        ...

    @property
    def place(self) -> str:
        """Where it is, in words."""
        ...

    def receive(self) -> AsyncIterator[FromCaller]:
        """Yield its messages.

        Raises:
            CallerLostError: it is gone.
        """
        ...

    async def send(self, message: ToCaller) -> None:
        """Send it a message; one that is gone gets none, and `receive` says so."""
        ...

    async def end(self) -> None:
        """End it, if it is still there."""
        ...


class CallerProcess:
    """A caller process on this host, with blocking methods for any thread."""

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[FromCaller | None] = queue.SimpleQueue()
        self._started = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        # The thread that starts a child must live as long as it: its death would count as the parent's (`child`).
        threading.Thread(target=self._run, name="caller", daemon=True).start()

    def receive(self) -> Iterator[FromCaller]:
        """Yield its messages until it has ended."""
        while (message := self._messages.get()) is not None:
            yield message

    def send(self, data: bytes) -> None:
        """Send it a message in its encoded form; nothing if it has ended."""
        self._started.wait()
        if self._process is None or self._process.stdin is None:
            return
        with self._lock, contextlib.suppress(BrokenPipeError, ValueError):  # it has ended: `receive` says so
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def end(self) -> None:
        """End it, its own processes with it."""
        self._started.wait()
        if self._process is None:
            return
        with self._lock, contextlib.suppress(BrokenPipeError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int | None:
        """Its process id; None if it could not be started."""
        self._started.wait()
        return self._process.pid if self._process is not None else None

    def _run(self) -> None:
        try:
            self._process = subprocess.Popen(
                child.leashed(child.python_command(MODULE)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=child.plain_environment(),
                start_new_session=True,
            )
        except OSError:
            return  # no message ever comes: the caller is lost
        finally:
            self._started.set()
            if self._process is None:
                self._messages.put(None)
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for message in read_messages(stdout):
                self._messages.put(cast(FromCaller, message))
        self._process.wait()
        self._messages.put(None)


class LocalCaller:
    """A caller process beside the driver."""

    def __init__(self, name: str) -> None:
        self.name, self.place = name, "this machine"
        self._process = CallerProcess()

    @property
    def pid(self) -> int | None:
        """Its process id; None if it could not be started."""
        return self._process.pid

    async def receive(self) -> AsyncIterator[FromCaller]:
        """Yield its messages.

        Raises:
            CallerLostError: its process ended.
        """
        loop, arrived = asyncio.get_running_loop(), asyncio.Queue[FromCaller | None]()

        def pass_on() -> None:
            for message in self._process.receive():
                loop.call_soon_threadsafe(arrived.put_nowait, message)
            loop.call_soon_threadsafe(arrived.put_nowait, None)

        threading.Thread(target=pass_on, name=f"from {self.name}", daemon=True).start()
        while (message := await arrived.get()) is not None:
            yield message
        raise CallerLostError("its process ended")

    async def send(self, message: ToCaller) -> None:
        """Send it a message."""
        await asyncio.to_thread(self._process.send, encode_message(message))

    async def end(self) -> None:
        """End its process."""
        await asyncio.to_thread(self._process.end)
