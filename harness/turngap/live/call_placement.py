"""One live call, from the entry in the ledger to the certainty that it has ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import TypeVar

from turngap_agent.errors import LiveError

from turngap.clock import NS_PER_MS, Clock
from turngap.live.agent_leg import AgentLeg, AgentTrace
from turngap.live.call_ledger import CallLedger
from turngap.live.call_state import TERMINAL, CallState
from turngap.live.caller_leg import CallerLeg, CallerTrace
from turngap.live.safety import RING_S
from turngap.live.server import LiveServer
from turngap.live.twilio_api import CallRequest, RefusedError, TwilioClient
from turngap.model.plural import plural
from turngap.model.records import CallEnd

Result = TypeVar("Result")
CONNECT_S = 20
"""How long both streams may take once the call was answered."""
POLL_S = 1.0
HANG_UP_S = 3.0
INTERRUPTED = "the run was interrupted; the call under way was ended, its finished turns are kept"
GUARD_S = 5
"""Our own timer ends a call so long before Twilio's limit would."""
STRAY_NS = 2_000 * NS_PER_MS
AGAIN_NS = 500 * NS_PER_MS
CLOCK_STEP_NS = 50 * NS_PER_MS


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """A call that has ended."""

    sid: str
    """Kept in memory only."""
    caller: CallerTrace
    agent: AgentTrace | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CallPlacer:
    """What a call is placed with."""

    twilio: TwilioClient
    server: LiveServer
    ledger: CallLedger
    clock: Clock
    says: Callable[[str], None]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set it to hang up: what was said by then is kept."""

    async def place(
        self, call_request: CallRequest, caller: CallerLeg, agent: AgentLeg | None, dialled: list[str]
    ) -> FinishedCall:
        """Dial, talk, hang up. `asked.twiml` is filled in here, as it holds this call's nonce.

        `dialled` is given the SIDs of the calls that came of it, also where it fails.

        Raises:
            LiveError: the call did not come to talking; it has been ended.
            UsageError: the ledger allows no more.
        """
        call = CallState(caller, agent)
        self.server.call = call
        before_ns = self._wall_ns()
        try:
            sid = await self._dial(replace(call_request, twiml=self.server.caller_twiml(call)), dialled)
            guard = asyncio.create_task(self._guard(sid, call_request.time_limit_s, call))
            try:
                await self._talk(sid, call)
            finally:
                guard.cancel()
                await finish_despite_cancellation(self._hang_up(sid, call_request.time_limit_s, call))
        finally:
            self.server.call = None
            caller.end(CallEnd.INTERRUPTED, "the run was interrupted")
        trace = caller.trace()
        step_ns = self._wall_ns() - before_ns
        notes = [*call.faults, *dict.fromkeys(self.server.refusals)]
        self.server.refusals.clear()
        if abs(step_ns) > CLOCK_STEP_NS:
            notes.append(
                f"the wall clock was set by {step_ns / 1e9:+.2f} s during the call; every time here is the monotonic "
                "clock's, which was not"
            )
        heard = agent.trace(trace.record.ended_ns) if agent is not None else None
        if heard is not None and heard.fault:
            notes.append(heard.fault)
        return FinishedCall(sid, trace, heard, tuple(notes))

    async def _dial(self, call_request: CallRequest, dialled: list[str]) -> str:
        since_ns = self.clock.unix_ns()
        self.ledger.reserve(since_ns)
        try:
            sid = await self.twilio.create(call_request)
        except RefusedError:
            raise
        except BaseException as fault:
            # No answer: it may ring already. It is never asked for again, only ended.
            ended = await finish_despite_cancellation(self._end_unconfirmed_calls(call_request, since_ns, dialled))
            if isinstance(fault, LiveError):
                raise LiveError(f"{fault}; {ended}") from None
            raise
        dialled.append(sid)
        return sid

    async def _end_unconfirmed_calls(self, call_request: CallRequest, since_ns: int, dialled: list[str]) -> str:
        try:
            found = await self.twilio.end_unconfirmed_calls(
                call_request.to, call_request.from_, since_ns, lambda: self.clock.rest(STRAY_NS)
            )
        except LiveError:
            return f"a call may still be ringing; Twilio ends it after {call_request.time_limit_s} s: check its console"
        dialled += found
        return f"{plural(len(found), 'call')} that it had left {'was' if len(found) == 1 else 'were'} ended"

    async def _talk(self, sid: str, call: CallState) -> None:
        """Wait for both streams, then for the end of the conversation."""
        await self._connected(sid, call)
        if call.agent is not None and call.agent.ended.is_set():
            raise LiveError(self._why(call, "the agent's leg ended before the call began"))
        call.caller.begin()
        watch = asyncio.create_task(self._when_stopped(call))
        try:
            while not call.caller.over.done():
                await asyncio.wait({call.caller.over}, timeout=POLL_S)
                if call.voicemail:
                    call.caller.end(CallEnd.AGENT_CLOSED, _VOICEMAIL)
                    raise LiveError(_VOICEMAIL)
        finally:
            watch.cancel()

    async def _when_stopped(self, call: CallState) -> None:
        await self.stop.wait()
        call.caller.end(CallEnd.INTERRUPTED)

    async def _connected(self, sid: str, call: CallState) -> None:
        """Raises: LiveError: it never came to that; with what Twilio says of it."""
        waited_ns = self.clock.now_ns()
        answered_ns: int | None = None
        while not self._both(call):
            if self.stop.is_set():
                raise LiveError(INTERRUPTED)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    call.changed.clear()
                    await self._any(call)
            if self._both(call):
                return
            state, answered_by = call.status, call.answered_by
            if state not in TERMINAL:
                with contextlib.suppress(LiveError):  # a callback may be lost, and so may this
                    state, answered_by = await self.twilio.status(sid)
                    call.answered_by = call.answered_by or answered_by
            if call.voicemail:
                raise LiveError(_VOICEMAIL)
            if state in TERMINAL:
                raise LiveError(self._why(call, TERMINAL[state] or "the call ended before both streams were open"))
            now_ns = self.clock.now_ns()
            if state == "in-progress" and answered_ns is None:
                answered_ns = now_ns
            if answered_ns is not None and now_ns - answered_ns > CONNECT_S * 1e9:
                raise LiveError(self._why(call, f"answered, but no stream after {CONNECT_S} s"))
            if now_ns - waited_ns > (RING_S + 2 * CONNECT_S) * 1e9:
                raise LiveError(self._why(call, "Twilio never connected the call"))

    @staticmethod
    def _both(call: CallState) -> bool:
        return call.caller.opened.is_set() and (
            call.agent is None or call.agent.opened.is_set() or call.agent.ended.is_set()
        )

    async def _any(self, call: CallState) -> None:
        """Until something has happened that may matter."""
        events = [self.stop, call.changed, call.caller.opened, *([call.agent.opened] if call.agent else [])]
        waiting = [asyncio.create_task(event.wait()) for event in events if not event.is_set()]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    def _why(self, call: CallState, text: str) -> str:
        hints = [*call.faults]
        answered = call.status in ("in-progress", "completed")
        if answered and call.agent is not None and not call.agent.opened.is_set() and not call.voice_requests:
            hints.append("the agent's number was not answered here: is its voice URL PUBLIC-URL/agent/voice?")
        hints += self.server.refusals
        return "; ".join(dict.fromkeys([text, *hints]))

    async def _guard(self, sid: str, limit_s: int, call: CallState) -> None:
        """Our own timer: whatever hangs here, the call ends."""
        await self.clock.rest((limit_s - GUARD_S) * 1_000_000_000)
        call.caller.end(CallEnd.AGENT_CLOSED, f"the call took {limit_s - GUARD_S} s and was ended by our own timer")
        await self._end(sid, limit_s)

    async def _hang_up(self, sid: str, limit_s: int, call: CallState) -> None:
        """Have Twilio end the call; the streams are closed from here only if that takes long (31921 at Twilio)."""
        ending = asyncio.create_task(self._end(sid, limit_s))
        await asyncio.wait({ending}, timeout=HANG_UP_S)
        call.caller.hang_up()
        if call.agent is not None:
            call.agent.hang_up()
        await ending

    async def _end(self, sid: str, limit_s: int) -> None:
        try:
            # Whatever its status: one that can't be asked for must not keep a call going.
            await self.twilio.end(sid, lambda: self.clock.rest(AGAIN_NS))
        except LiveError as fault:
            self.says(f"the call could not be ended ({fault}); Twilio ends it after {limit_s} s: check its console")

    def _wall_ns(self) -> int:
        """The wall clock against the monotonic one: it moves when the wall clock is set."""
        return self.clock.unix_ns() - self.clock.now_ns()


_VOICEMAIL = "a machine answered (voicemail, says Twilio); if it is the agent, say --no-voicemail-check"


async def finish_despite_cancellation(doing: Coroutine[None, None, Result]) -> Result:
    """Finish it, though we are cancelled meanwhile: what rings must be ended."""
    task = asyncio.ensure_future(doing)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    return task.result()
