"""Delays, `serve --inject STAGE=MS`: a known time in one stage, to test that it is measured in that stage."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Generic, TypeVar

from turngap_agent import clock
from turngap_agent.inject.call_faults import CallFaults
from turngap_agent.telephony.faults import parse_parameters
from turngap_agent.tracing import Stage, parse_delay

Item = TypeVar("Item")


class Injection:
    """What is injected: delays by stage, and the faults that calls may ask for; nothing by default."""

    def __init__(self, delays_ms: dict[Stage, float] | None = None, *, faults: bool = False) -> None:
        self._delays_ms = dict(delays_ms or {})
        self.faults = faults
        """Whether a call may ask for a fault."""

    @classmethod
    def parse(cls, arguments: Iterable[str], *, faults: bool = False) -> Injection:
        """Read `STAGE=MS` arguments; a stage that is named twice takes the last.

        Raises:
            UsageError: as `tracing.parse_delay`.
        """
        return cls(dict(parse_delay(argument) for argument in arguments), faults=faults)

    def delay_ns(self, stage: Stage) -> int:
        """Return the delay of a stage; 0 without one."""
        return round(self._delays_ms.get(stage, 0.0) * 1_000_000)

    async def wait(self, stage: Stage) -> None:
        """Wait for the stage's delay; without one return at once, without yielding to the loop."""
        delay = self.delay_ns(stage)
        if delay:
            await clock.sleep_until_ns(clock.now_ns() + delay)

    def read_faults(self, custom_parameters: Mapping[str, str]) -> CallFaults | None:
        """Return the faults that a stream asks for; None for none, or if calls may not.

        Raises:
            ProtocolError: as `telephony.faults.parse_parameters`.
        """
        fault = parse_parameters(custom_parameters) if self.faults else None
        return CallFaults(fault) if fault is not None else None

    def __bool__(self) -> bool:
        return self.faults or any(self._delays_ms.values())

    def __str__(self) -> str:
        delays = [f"{stage} +{delay:g} ms" for stage, delay in self._delays_ms.items()]
        return ", ".join([*delays, *(["the faults that calls ask for"] if self.faults else [])])


class DelayLine(Generic[Item]):
    """Delivers items, each `delay_ns` after it was put, in order and with the same spacing.

    Without a delay `put` delivers at once and no task is needed; otherwise `run` must be running.
    """

    def __init__(self, delay_ns: int, deliver: Callable[[Item], Awaitable[None]]) -> None:
        self._delay_ns = delay_ns
        self._deliver = deliver
        self._waiting: asyncio.Queue[tuple[int, Item]] = asyncio.Queue()

    @property
    def needs_task(self) -> bool:
        """Whether `run` must be running."""
        return self._delay_ns > 0

    async def put(self, item: Item) -> None:
        """Take an item."""
        if self._delay_ns:
            self._waiting.put_nowait((clock.now_ns() + self._delay_ns, item))
        else:
            await self._deliver(item)

    async def run(self) -> None:
        """Deliver items when they are due, until cancelled."""
        while True:
            due_ns, item = await self._waiting.get()
            await clock.sleep_until_ns(due_ns)
            await self._deliver(item)
