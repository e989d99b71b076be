"""Callers without processes: each answers as its script says, and can be lost at a given call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import numpy as np
from turngap.cluster.callers import CallerLostError
from turngap.cluster.messages import (
    Began,
    Ended,
    Enough,
    Failed,
    Finished,
    FromCaller,
    Go,
    Ready,
    Share,
    Stop,
    Timed,
    ToCaller,
)
from turngap.model.records import CallRecord
from turngap.session.scoring_process import ScoredCall

from tests.harness import builders as builders_of_calls
from tests.harness import report_builders as builders


@dataclass
class FakeCaller:
    """Places its calls one after the other, in no time."""

    name: str
    place: str = "here"
    lost_at: int | None = None
    """The number of the call, counted from 0 over all its shares, in which it is lost; -1: before it is ready."""
    fails: Failed | None = None
    """What it says instead of being ready."""
    plan_sha256: str | None = None
    clock_ns: int = 5_000_000_000
    """When it gets to work, on its own clock."""
    shares: list[Share] = field(default_factory=list)
    began_before_go: bool = False
    told: list[type[object]] = field(default_factory=list)
    ended: bool = False
    _orders: asyncio.Queue[ToCaller] = field(default_factory=asyncio.Queue)
    _placed: int = 0

    async def send(self, message: ToCaller) -> None:
        """Take an order."""
        self.told.append(type(message))
        self._orders.put_nowait(message)

    async def end(self) -> None:
        """Note that it was ended."""
        self.ended = True

    async def receive(self) -> AsyncIterator[FromCaller]:
        """Yield what becomes of its shares."""
        while True:
            share = await self._orders.get()
            if not isinstance(share, Share):
                continue
            self.shares.append(share)
            if self.lost_at == -1:
                raise CallerLostError("its node died")
            if self.fails is not None:
                yield self.fails
                continue
            yield Ready(None, self.plan_sha256 or share.plan_sha256, "niceness 0", f"boot {self.name}")
            while isinstance(order := await self._orders.get(), Share):
                pass
            if not isinstance(order, Go):
                yield Finished(())
                continue
            for call in share.calls:
                if any(isinstance(one, Stop | Enough) for one in list(self._orders._queue)):  # type: ignore[attr-defined]
                    break
                yield Began(call.index)
                if (start_ns := {one.index: at for one, at in share.timed}.get(call.index)) is not None:
                    yield Timed(time_call(call.index, self.clock_ns + start_ns))
                if self._placed == self.lost_at:
                    raise CallerLostError("its node died")
                self._placed += 1
                yield Ended(call.index, score(call.index, call.turns[-1].key, self.name, warm_up=call.warm_up))
                await asyncio.sleep(0)
            yield Finished((f"a note of {self.name}",))


def time_call(index: int, planned_ns: int) -> CallRecord:
    """A call that was placed 1 ms late and lasted a second."""
    record = builders_of_calls.Call().ends(1000)
    return replace(
        record, index=index, planned_ns=planned_ns, placed_ns=planned_ns + 1_000_000, ended_ns=planned_ns + 10**9
    )


def score(index: int, utterance: str, caller: str, *, warm_up: bool = False) -> ScoredCall:
    """One answered turn."""
    turn = builders.turn(
        index % 7,
        call=index,
        utterance_id=utterance,
        boot_id=f"boot {caller}",
        spans=False,
        warm_up=warm_up,
        scored=not warm_up,
    )
    return ScoredCall((turn,), np.full(50, 0.1), np.full(50, 0.2))
