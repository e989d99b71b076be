"""Faults around engines: each engine that is loaded is wrapped by its public interface, whatever its kind.

Only an agent that was started with `serve --inject-faults` has them. A wrapped engine has every attribute of its own
engine, and before each piece of work it looks whether a fault of the call strikes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import numpy as np
import numpy.typing as npt

from turngap_agent import clock
from turngap_agent.endpointing import VoiceActivity, Voicing
from turngap_agent.inject import call_faults
from turngap_agent.inject.call_faults import InjectedError, StuckThread
from turngap_agent.stt import Transcript
from turngap_agent.telephony.faults import Fault, FaultKind, FaultStage

DETECTOR_FAULT_NS = 1_000_000_000
"""A fault of a detector that strikes once lasts so long: one window of 32 ms would not be noticed."""
NOTHING: Mapping[str, Any] = {"transcribe": Transcript(""), "transcribe_as": Transcript("")}
"""By method what no result is; of others None, which is no valid result either."""
GARBAGE: Mapping[str, Any] = {
    "transcribe": Transcript("\x00\ufffd" * 3000 + " \u202e" + "z" * 5000),
    "transcribe_as": Transcript("\x00\ufffd" * 3000),
    "completeness": float("nan"),
    "judge": 1e308,
    "end_probability": float("nan"),
    "reply": ("\x00", "\x1b[2J", "\ufffd\ufffd", "\u202e", "{}[]<>|", "\x07" * 40) * 8,
    "speak": (np.full(2400, np.nan, np.float32), np.full(2400, np.inf, np.float32), np.full(2400, 1e30, np.float32)),
}
"""By method what is returned, or yielded piece by piece."""
RESULTS: Mapping[FaultStage, tuple[str, ...]] = {
    FaultStage.STT: ("transcribe", "transcribe_as"),
    FaultStage.TURN: ("completeness", "judge"),
    FaultStage.LLM: ("end_probability",),
}
"""By stage the methods with one result; those that an engine does not have are left out."""
STREAMS: Mapping[FaultStage, tuple[str, ...]] = {FaultStage.LLM: ("reply",), FaultStage.TTS: ("speak",)}
"""By stage the methods that yield pieces."""


class FaultyEngine:
    """A wrapped engine; `wrap_engine` makes a subclass of it with the engine's own attributes."""

    stage: FaultStage

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self._stuck: StuckThread | None = None

    def detector(self) -> VoiceActivity:
        """Return a detector for one call, with the faults of that call."""
        return FaultyDetector(self.engine.detector(), self)

    async def wait_if_stuck(self) -> None:
        """Wait for ever if a thread of this engine is stuck."""
        if self._stuck is not None:
            await self._stuck.wait()

    async def strike(self, fault: Fault, *, first: bool = True) -> None:
        """Do what `fault` does before the work; return if the work still follows, or if its result is spoilt.

        Raises:
            InjectedError: that is the fault.
        """
        match fault.kind:
            case FaultKind.RAISE:
                raise InjectedError(f"injected: {fault.stage} failed")
            case FaultKind.HANG:
                await call_faults.hang()
            case FaultKind.STUCK if hasattr(self.engine, "process_ids"):
                send_to_processes(self.engine, signal.SIGSTOP)  # as if all of its threads were stuck
            case FaultKind.STUCK:
                self._stuck = self._stuck or StuckThread()
                await self._stuck.wait()
            case FaultKind.SLOW:
                await call_faults.delay(first)
            case FaultKind.KILL:
                send_to_processes(self.engine, signal.SIGKILL)
            case _:
                pass


class FaultyDetector:
    """One call's detector."""

    def __init__(self, detector: VoiceActivity, engine: FaultyEngine) -> None:
        self._detector, self._engine = detector, engine
        self._fault: Fault | None = None
        self._until_ns = 0

    async def push(self, pcm: npt.NDArray[np.int16]) -> list[Voicing]:
        """Judge the samples, shape (n,), unless a fault strikes."""
        await self._engine.wait_if_stuck()
        now_ns = clock.now_ns()
        if (fault := call_faults.take(FaultStage.VAD)) is not None:
            if self._fault is None:
                self._until_ns = now_ns + DETECTOR_FAULT_NS
            self._fault = fault
            await self._engine.strike(fault, first=now_ns < self._until_ns)
        voicings = await self._detector.push(pcm)
        if self._fault is None or not (self._fault.always or now_ns < self._until_ns):
            return voicings
        match self._fault.kind:
            case FaultKind.NOTHING:
                return []
            case FaultKind.GARBAGE:
                return [Voicing(-voicing.end_sample, float("nan"), float("nan")) for voicing in voicings]
        return voicings


def wrap_engine(stage: str, engine: Any) -> Any:
    """Return `engine` of that stage with faults around its work."""
    kind = FaultStage(stage)
    own: dict[str, Any] = {"stage": kind}
    for names, make in ((RESULTS, _make_result), (STREAMS, _make_stream)):
        own |= {name: make(kind, name) for name in names.get(kind, ()) if hasattr(engine, name)}
    others = [name for name in dir(engine) if not name.startswith("_") and name not in own]
    if kind is FaultStage.VAD:
        others.remove("detector")
    own |= {name: _delegate(name) for name in others}
    return type(f"Faulty{type(engine).__name__}", (FaultyEngine,), own)(engine)


def send_to_processes(engine: Any, number: signal.Signals) -> None:
    """Send a signal to the processes of an engine; nothing happens to one whose process has ended already.

    Raises:
        InjectedError: it never has any.
    """
    if not hasattr(engine, "process_ids"):
        raise InjectedError("injected: the engine has no process of its own to be killed")
    for pid in engine.process_ids():
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(pid, number)


def _delegate(name: str) -> property:
    return property(lambda self: getattr(self.engine, name))


def _make_result(stage: FaultStage, name: str) -> Callable[..., Awaitable[Any]]:
    async def work(self: FaultyEngine, *arguments: Any, **more: Any) -> Any:
        await self.wait_if_stuck()
        if (fault := call_faults.take(stage)) is not None:
            await self.strike(fault)
            if fault.kind in (FaultKind.NOTHING, FaultKind.GARBAGE):
                return (NOTHING if fault.kind is FaultKind.NOTHING else GARBAGE).get(name)
        return await getattr(self.engine, name)(*arguments, **more)

    return work


def _make_stream(stage: FaultStage, name: str) -> Callable[..., AsyncGenerator[Any, None]]:
    async def work(self: FaultyEngine, *arguments: Any, **more: Any) -> AsyncGenerator[Any, None]:
        first, slow, ended = True, False, False
        async with aclosing(getattr(self.engine, name)(*arguments, **more)) as pieces:
            while not ended:
                await self.wait_if_stuck()
                if slow:
                    await call_faults.delay(first=False)
                elif (fault := call_faults.take(stage)) is not None:
                    slow = fault.kind is FaultKind.SLOW
                    await self.strike(fault, first=first)
                    if fault.kind in (FaultKind.NOTHING, FaultKind.GARBAGE):
                        for piece in GARBAGE[name] if fault.kind is FaultKind.GARBAGE else ():
                            yield piece
                        return
                try:
                    piece = await anext(pieces)
                except StopAsyncIteration:
                    ended = True
                else:
                    first = False
                    yield piece
                    await asyncio.sleep(0)  # what was yielded may be sent before the next step
        await call_faults.hold_back(stage)
        if (fault := call_faults.take(stage)) is not None:
            await self.strike(fault)
            for piece in GARBAGE[name] if fault.kind is FaultKind.GARBAGE else ():
                yield piece

    return work
