"""One call's fault: when it strikes, by what the call has sent so far, and what striking means.

Engines do not know whose work they do. The call does: its fault is in a context variable, which all of its tasks
inherit.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from turngap_agent import clock, meter
from turngap_agent.telephony.faults import Fault, FaultKind, FaultStage, Moment
from turngap_agent.telephony.messages import Clear, OutboundMedia
from turngap_agent.telephony.parsing import parse_outbound

SLOW_NS = 2_000_000_000
"""How much later the first step of slow work is ..."""
SLOW_PIECE_NS = 300_000_000
"""... and each later one: slower than speech, whose pieces last 100 ms or so."""
STUCK_S = 3600
"""Longer than any call: a thread that is stuck ends with the process."""
HELD_BACK_NS = 1_500_000_000
"""How long work that would end too soon is held back for its moment: a fast engine is done before a word is heard."""
_log = logging.getLogger("turngap.faults")


class InjectedError(Exception):
    """What an engine raises by injection: none of our own errors, as a library would."""


class CallFaults:
    """The fault of one call. It follows the call by the messages that are sent: `watch` what goes to the socket."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._struck = False
        self._due = asyncio.Event()
        if fault.moment is Moment.FIRST_WORD:
            self._due.set()

    def watch(self, send: Callable[[str], Awaitable[None]]) -> Callable[[str], Awaitable[None]]:
        """Return `send` with the fault of this call, if that is in the sending."""

        async def send_or_fail(text: str) -> None:
            message = parse_outbound(text)
            if isinstance(message, Clear) and self.fault.moment is Moment.BARGE_IN:
                self._due.set()
            if isinstance(message, OutboundMedia) and (fault := self.take(FaultStage.SENDING)) is not None:
                await _send_badly(fault, send, message, text)
            else:
                await send(text)
            if isinstance(message, OutboundMedia) and self.fault.moment is Moment.MID_REPLY:
                self._due.set()

        return send_or_fail

    def take(self, stage: FaultStage) -> Fault | None:
        """Return the fault if it strikes this step of `stage`; it counts as having struck then."""
        if stage is not self.fault.stage or not self._due.is_set() or (self._struck and not self.fault.always):
            return None
        if not self._struck:
            _log.warning("injected: %s", self.fault)
        self._struck = True
        return self.fault

    async def hold_back(self, stage: FaultStage) -> None:
        """Wait until the moment of this stage's fault has come, for a while: the work would be over before it."""
        if stage is self.fault.stage and self.fault.moment is Moment.MID_REPLY and not self._struck:
            try:
                await asyncio.wait_for(self._due.wait(), HELD_BACK_NS / 1e9)
            except TimeoutError:
                _log.warning("injected: %s: the moment has not come", self.fault)


CURRENT: ContextVar[CallFaults | None] = ContextVar("call_faults", default=None)
"""The fault of the call that the running task works for; None for none."""


def take(stage: FaultStage) -> Fault | None:
    """Return the fault that strikes this step of `stage`, for the call that the running task works for."""
    faults = CURRENT.get()
    return faults.take(stage) if faults is not None else None


async def hold_back(stage: FaultStage) -> None:
    """Hold back the end of a reply's work for the moment of the fault, as `CallFaults.hold_back`."""
    if (faults := CURRENT.get()) is not None:
        await faults.hold_back(stage)


class StuckThread:
    """A thread in native code that does not return: nothing in this process can end it."""

    def __init__(self) -> None:
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        attempt = meter.current()

        def work() -> None:
            with attempt.busy():
                ctypes.CDLL(None).sleep(ctypes.c_uint(STUCK_S))

        threading.Thread(target=work, name="stuck", daemon=True).start()

    async def wait(self) -> None:
        """Wait for it, for ever; the waiting can be cancelled, the thread can not."""
        await asyncio.shield(self._done)


async def delay(first: bool = True) -> None:
    """Wait as slow work does."""
    await clock.sleep_until_ns(clock.now_ns() + (SLOW_NS if first else SLOW_PIECE_NS))


async def hang() -> None:
    """Wait for ever."""
    await asyncio.Event().wait()


async def _send_badly(fault: Fault, send: Callable[[str], Awaitable[None]], message: OutboundMedia, text: str) -> None:
    match fault.kind:
        case FaultKind.RAISE:
            raise InjectedError("injected: the message was not sent")
        case FaultKind.HANG:
            await hang()
        case FaultKind.GARBAGE:
            await send(OutboundMedia(message.stream_sid, bytes(range(256))).to_json())
        case FaultKind.SLOW:
            await delay()
            await send(text)
        case _:
            return  # nothing is sent
