"""Fault injection, `serve --inject STAGE=MS`: a known delay in one stage, to test that it is measured in that stage.

It works with any profile: the delays are around the engines, never in them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from turngap_agent import clock
from turngap_agent.tracing import Stage, parse_delay

Item = TypeVar("Item")


class Injection:
    """The injected delays by stage; none by default."""

    def __init__(self, delays_ms: dict[Stage, float] | None = None) -> None:
        self._delays_ms = dict(delays_ms or {})

    @classmethod
    def parse(cls, arguments: Iterable[str]) -> Injection:
        """Read `STAGE=MS` arguments; a stage that is named twice takes the last.

        Raises:
            UsageError: as `tracing.parse_delay`.
        """
        return cls(dict(parse_delay(argument) for argument in arguments))

    def delay_ns(self, stage: Stage) -> int:
        """Return the delay of a stage; 0 without one."""
        return round(self._delays_ms.get(stage, 0.0) * 1_000_000)

    async def wait(self, stage: Stage) -> None:
        """Wait for the stage's delay; without one return at once, without yielding to the loop."""
        delay = self.delay_ns(stage)
        if delay:
            await clock.sleep_until_ns(clock.now_ns() + delay)

    def __bool__(self) -> bool:
        return any(self._delays_ms.values())

    def __str__(self) -> str:
        return ", ".join(f"{stage} +{delay:g} ms" for stage, delay in self._delays_ms.items())


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
