"""Places one live call: records it in the ledger, dials, holds the conversation, and makes sure that it has ended."""

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
"""How long opening both streams may take after the call was answered."""
POLL_S = 1.0
HANG_UP_S = 3.0
INTERRUPTED = "the run was interrupted; the current call was ended, its finished turns are kept"
GUARD_S = 5
"""The instrument's own timer ends a call this long before Twilio's time limit."""
UNCONFIRMED_PAUSE_NS = 2_000 * NS_PER_MS
RETRY_PAUSE_NS = 500 * NS_PER_MS
CLOCK_STEP_NS = 50 * NS_PER_MS
"""A larger step of the wall clock during a call is noted."""


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """A call that has ended."""

    sid: str
    """In memory only, never written."""
    caller: CallerTrace
    agent: AgentTrace | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CallPlacer:
    """Places calls one at a time; holds what a call needs."""

    twilio: TwilioClient
    server: LiveServer
    ledger: CallLedger
    clock: Clock
    show_status: Callable[[str], None]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set it to hang up: the turns finished by then are kept."""

    async def place(
        self, call_request: CallRequest, caller: CallerLeg, agent: AgentLeg | None, dialled: list[str]
    ) -> FinishedCall:
        """Dial, hold the conversation, hang up. The TwiML of `call_request` is filled in here, with this call's nonce.

        The SIDs of the calls that this created are appended to `dialled`, even if it fails.

        Raises:
            LiveError: the call did not reach the conversation; it has been ended.
            UsageError: the ledger allows no further call.
        """
        call = CallState(caller, agent)
        self.server.call = call
        before_ns = self._wall_ns()
        try:
            sid = await self._dial(replace(call_request, twiml=self.server.caller_twiml(call)), dialled)
            guard = asyncio.create_task(self._guard(sid, call_request.time_limit_s, call))
            try:
                await self._converse(sid, call)
            finally:
                guard.cancel()
                await finish_despite_cancellation(self._hang_up(sid, call_request.time_limit_s, call))
        finally:
            self.server.call = None
            caller.end(CallEnd.INTERRUPTED, "the run was interrupted")
        trace = caller.trace()
        step_ns = self._wall_ns() - before_ns
        notes = [*call.stream_errors, *dict.fromkeys(self.server.refusals)]
        self.server.refusals.clear()
        if abs(step_ns) > CLOCK_STEP_NS:
            notes.append(
                f"the wall clock was set by {step_ns / 1e9:+.2f} s during the call; no measurement is affected, as all "
                "times are from the monotonic clock"
            )
        agent_trace = agent.trace(trace.record.ended_ns) if agent is not None else None
        if agent_trace is not None and agent_trace.error:
            notes.append(agent_trace.error)
        return FinishedCall(sid, trace, agent_trace, tuple(notes))

    async def _dial(self, call_request: CallRequest, dialled: list[str]) -> str:
        since_ns = self.clock.unix_ns()
        self.ledger.reserve(since_ns)
        try:
            sid = await self.twilio.create(call_request)
        except RefusedError:
            raise
        except BaseException as error:
            # No answer: a telephone may already ring. The request is never repeated; the call is only ended.
            result = await finish_despite_cancellation(self._end_unconfirmed_calls(call_request, since_ns, dialled))
            if isinstance(error, LiveError):
                raise LiveError(f"{error}; {result}") from None
            raise
        dialled.append(sid)
        return sid

    async def _end_unconfirmed_calls(self, call_request: CallRequest, since_ns: int, dialled: list[str]) -> str:
        try:
            sids = await self.twilio.end_unconfirmed_calls(
                call_request.to, call_request.from_, since_ns, lambda: self.clock.sleep_ns(UNCONFIRMED_PAUSE_NS)
            )
        except LiveError:
            return f"a call may still be ringing; Twilio ends it after {call_request.time_limit_s} s: check its console"
        dialled += sids
        return f"{plural(len(sids), 'call')} left by this request {'was' if len(sids) == 1 else 'were'} ended"

    async def _converse(self, sid: str, call: CallState) -> None:
        """Wait for both streams, then for the end of the conversation."""
        await self._wait_for_streams(sid, call)
        if call.agent is not None and call.agent.ended.is_set():
            raise LiveError(self._explain(call, "the agent's leg ended before the call started"))
        call.caller.begin()
        watch = asyncio.create_task(self._end_when_stopped(call))
        try:
            while not call.caller.over.done():
                await asyncio.wait({call.caller.over}, timeout=POLL_S)
                if call.voicemail:
                    call.caller.end(CallEnd.AGENT_CLOSED, _VOICEMAIL)
                    raise LiveError(_VOICEMAIL)
        finally:
            watch.cancel()

    async def _end_when_stopped(self, call: CallState) -> None:
        await self.stop.wait()
        call.caller.end(CallEnd.INTERRUPTED)

    async def _wait_for_streams(self, sid: str, call: CallState) -> None:
        """Wait until both streams are open.

        Raises:
            LiveError: they were not opened; with the reason that Twilio gives.
        """
        started_ns = self.clock.now_ns()
        answered_ns: int | None = None
        while not self._streams_open(call):
            if self.stop.is_set():
                raise LiveError(INTERRUPTED)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    call.changed.clear()
                    await self._wait_for_change(call)
            if self._streams_open(call):
                return
            state, answered_by = call.status, call.answered_by
            if state not in TERMINAL:
                with contextlib.suppress(LiveError):  # a callback may be lost, and so may this answer
                    state, answered_by = await self.twilio.status(sid)
                    call.answered_by = call.answered_by or answered_by
            if call.voicemail:
                raise LiveError(_VOICEMAIL)
            if state in TERMINAL:
                raise LiveError(self._explain(call, TERMINAL[state] or "the call ended before both streams were open"))
            now_ns = self.clock.now_ns()
            if state == "in-progress" and answered_ns is None:
                answered_ns = now_ns
            if answered_ns is not None and now_ns - answered_ns > CONNECT_S * 1e9:
                raise LiveError(self._explain(call, f"answered, but no stream after {CONNECT_S} s"))
            if now_ns - started_ns > (RING_S + 2 * CONNECT_S) * 1e9:
                raise LiveError(self._explain(call, "Twilio never connected the call"))

    @staticmethod
    def _streams_open(call: CallState) -> bool:
        return call.caller.opened.is_set() and (
            call.agent is None or call.agent.opened.is_set() or call.agent.ended.is_set()
        )

    async def _wait_for_change(self, call: CallState) -> None:
        """Wait until a stream opens, Twilio reports something, or the run is to stop."""
        events = [self.stop, call.changed, call.caller.opened, *([call.agent.opened] if call.agent else [])]
        waiting = [asyncio.create_task(event.wait()) for event in events if not event.is_set()]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    def _explain(self, call: CallState, text: str) -> str:
        """Return `text` with everything known about the cause."""
        hints = [*call.stream_errors]
        answered = call.status in ("in-progress", "completed")
        if answered and call.agent is not None and not call.agent.opened.is_set() and not call.voice_requests:
            hints.append(
                "Twilio did not ask this machine how to answer the agent's number: is its voice URL "
                "PUBLIC-URL/agent/voice?"
            )
        hints += self.server.refusals
        return "; ".join(dict.fromkeys([text, *hints]))

    async def _guard(self, sid: str, limit_s: int, call: CallState) -> None:
        """End the call shortly before Twilio's time limit, whatever else hangs."""
        await self.clock.sleep_ns((limit_s - GUARD_S) * 1_000_000_000)
        call.caller.end(
            CallEnd.AGENT_CLOSED, f"the call took {limit_s - GUARD_S} s and was ended by turngap's own timer"
        )
        await self._end(sid, limit_s)

    async def _hang_up(self, sid: str, limit_s: int, call: CallState) -> None:
        """End the call through Twilio; close the streams from here only if that takes long (Twilio notes 31921)."""
        ending = asyncio.create_task(self._end(sid, limit_s))
        await asyncio.wait({ending}, timeout=HANG_UP_S)
        call.caller.hang_up()
        if call.agent is not None:
            call.agent.hang_up()
        await ending

    async def _end(self, sid: str, limit_s: int) -> None:
        try:
            # Whatever its status: an unknown status must not keep a call open.
            await self.twilio.end(sid, lambda: self.clock.sleep_ns(RETRY_PAUSE_NS))
        except LiveError as error:
            self.show_status(
                f"the call could not be ended ({error}); Twilio ends it after {limit_s} s: check its console"
            )

    def _wall_ns(self) -> int:
        """Return the wall clock's offset from the monotonic clock: it changes when the wall clock is set."""
        return self.clock.unix_ns() - self.clock.now_ns()


_VOICEMAIL = "Twilio reports that a machine answered (voicemail); if it is the agent, use --no-voicemail-check"


async def finish_despite_cancellation(coroutine: Coroutine[None, None, Result]) -> Result:
    """Finish a coroutine even if this task is cancelled meanwhile: a ringing telephone must be hung up.

    Raises:
        asyncio.CancelledError: afterwards, if this task was cancelled.
    """
    task = asyncio.ensure_future(coroutine)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    return task.result()
