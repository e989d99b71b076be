"""Lets several callers place the calls of one run: they start together, and what they measure is kept as calls end.

A caller that is lost costs the calls it had under way. These and the rest of its share are placed by the others; the
record says which caller was lost, why, and during which calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from turngap_agent.errors import AgentError, HarnessError, TurngapError, UsageError

from turngap.calibration.calibrate import Calibration
from turngap.calibration.sentinel import Sentinel, parse_log
from turngap.clock import Clock
from turngap.cluster import shares
from turngap.cluster.caller_state import CallerState, summarise_caller
from turngap.cluster.callers import Caller, CallerLostError
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
from turngap.cluster.shares import CallerLog, Portion
from turngap.corpus.clips import Corpus
from turngap.model.callers import CallerFigures
from turngap.model.plural import plural
from turngap.model.records import CallRecord
from turngap.scenario import PlannedCall
from turngap.session.agent_run import AssignedCall
from turngap.session.runner import ProgressDisplay, Session
from turngap.store import folder as store


class Distribution:
    """The calls of one run, placed by several callers."""

    def __init__(
        self,
        session: Session,
        corpus: Corpus,
        callers: Sequence[Caller],
        display: ProgressDisplay,
        clock: Clock,
        stop: asyncio.Event,
    ) -> None:
        (agent_run,) = session.agent_runs
        self._session, self._clock = session, clock
        self._agent_run, self._corpus, self._display, self._stop = agent_run, corpus, display, stop
        self._interrupted = session.interrupted
        self._begin_ns = 0
        """When an open-loop load began, on this process's clock: callers' times are only counted from their own."""
        self._states = [CallerState(caller, caller.receive()) for caller in callers]
        self._request = replace(agent_run.request, budget=None, resumed=None)
        self._sha256 = shares.hash_plan(self._request.calls, corpus)
        self._error: TurngapError | None = None
        self._enough = False
        self._waiting: set[str] = set()
        """The callers of this round that are not ready yet."""
        self._active: list[CallerState] = []
        self._announced = False

    async def place_all(self) -> None:
        """Place the session's calls; return when all are in the run's folder.

        Raises:
            UsageError: a caller has another plan than the run.
            AgentError: the agent refused the first call, or nothing listens at its URL.
            HarnessError: every caller was lost, the folder can't be written, or the session was interrupted.
        """
        calls: Sequence[PlannedCall] = [assigned.call for assigned in self._session.calls]
        watch = asyncio.create_task(self._watch_stop())
        try:
            while calls and not self._ends:
                await self._place_round(calls)
                again = self._take_back_lost()
                calls = () if self._ends else again or self._list_repeats()
        finally:
            watch.cancel()
            await asyncio.gather(*(state.caller.end() for state in self._states))
        if self._error is not None:
            raise self._error
        if self._stop.is_set():
            raise HarnessError(self._interrupted, code="harness.interrupted")

    @property
    def calibrations(self) -> tuple[Calibration, ...]:
        """Of every caller that was ready."""
        return tuple(state.calibration for state in self._states if state.calibration is not None)

    def summarise(self) -> tuple[CallerFigures, ...]:
        """Return the figures of every caller that had a share."""
        return tuple(summarise_caller(state) for state in self._states if state.scored or state.lost)

    @property
    def _ends(self) -> bool:
        return self._error is not None or self._stop.is_set() or self._enough

    async def _watch_stop(self) -> None:
        await self._stop.wait()
        await self._tell_all(Stop())

    async def _tell_all(self, order: ToCaller) -> None:
        await asyncio.gather(*(state.caller.send(order) for state in self._active if not state.lost))

    async def _place_round(self, calls: Sequence[PlannedCall]) -> None:
        """Give each caller its portion, let all begin together, and follow them to their ends."""
        present = [state for state in self._states if not state.lost]
        if not present:
            lost = "; ".join(f"{state.caller.name}: {state.lost}" for state in self._states)
            raise HarnessError(f"all callers were lost ({lost}); {self._interrupted}")
        portions = self._divide(calls, len(present))
        self._active = present[: len(portions)]
        self._waiting = {state.caller.name for state in self._active}
        await asyncio.gather(*(self._run_share(state, own) for state, own in zip(self._active, portions, strict=True)))

    def _divide(self, calls: Sequence[PlannedCall], callers: int) -> tuple[Portion, ...]:
        session = self._session
        if session.arrange is None:
            return shares.divide_calls(calls, session.slots, callers)
        warm_ups = [call for call in calls if call.warm_up]
        scored = [AssignedCall(self._agent_run, call) for call in calls if not call.warm_up]
        timed = [(each.assigned.call, each.start_ns) for each in session.arrange(scored)]
        return shares.divide_timed_calls(warm_ups, timed, session.slots, callers)

    async def _run_share(self, state: CallerState, portion: Portion) -> None:
        state.log = CallerLog({call.index: call for call in portion.calls})
        state.starts_ns = {call.index: start_ns for call, start_ns in portion.timed}
        share = Share(
            state.caller.name, self._request, portion.calls, portion.slots, self._corpus, self._sha256, portion.timed
        )
        await state.caller.send(share)
        try:
            while await self._take(state, await anext(state.messages)):
                pass
        except (CallerLostError, StopAsyncIteration) as loss:
            self._lose(state, str(loss))
        except TurngapError as error:  # the folder can't be written, or the caller has another plan
            await self._fail(error)
        finally:
            await self._mark_ready(state)

    async def _take(self, state: CallerState, message: FromCaller) -> bool:
        """Take a caller's message; return False after its last one."""
        if isinstance(message, Ready):
            if message.plan_sha256 != self._sha256:
                raise UsageError(
                    f"{state.caller.name} ({state.caller.place}): its calls or their audio are not those of the run: "
                    "install the same version of turngap and its packages everywhere"
                )
            state.calibration, state.priority = message.calibration, message.priority
            state.sentinel = Sentinel(self._agent_run.folder.path / store.SENTINEL, message.clock_id)
            await self._mark_ready(state)
        elif isinstance(message, Began):
            state.log.begin(message.call)
        elif isinstance(message, Timed):
            self._take_times(state, message.record)
        elif isinstance(message, Ended):
            await self._keep(state, message)
        elif isinstance(message, Failed):
            self._end_share(state, message)
            if message.by_agent:
                await self._fail(AgentError(message.message))
            else:
                self._lose(state, message.message)
        elif isinstance(message, Finished):
            self._end_share(state, message)
        return not isinstance(message, Finished | Failed)

    async def _mark_ready(self, state: CallerState) -> None:
        """Let all callers begin once none is waited for: those that are lost, or have ended, are not."""
        if state.caller.name not in self._waiting:
            return
        self._waiting.discard(state.caller.name)
        if self._waiting or self._ends:
            return
        if not self._announced:
            self._announced = True
            missing = (call for active in self._active for call in active.log.assigned.values())
            self._display.show_start(sum(len(call.scored_turns) for call in missing))
        self._begin_ns = self._clock.now_ns()
        await self._tell_all(Go())

    async def _keep(self, state: CallerState, ended: Ended) -> None:
        """Save an ended call in the run's folder, and stop the callers where the turns so far decide the verdict."""
        folder, progress, rule = self._agent_run.folder, self._agent_run.progress, self._agent_run.rule
        if ended.recording is not None:
            audio = next(turn.audio for turn in ended.scored.turns if turn.audio)
            try:
                (folder.path / audio).write_bytes(ended.recording)
            except OSError as error:
                raise HarnessError(f"{folder.path / audio}: cannot be written ({error.strerror or error})") from None
        if ended.scored.turns:
            folder.append(ended.scored.turns)
        progress.add(ended.scored)
        state.scored.append(ended.scored)
        state.log.end(ended.call)
        self._add_sentinel(state, ended.sentinel)
        for turn in ended.scored.turns:
            self._display.show_turn(turn, self._agent_run.name)
        if rule is None or self._enough or self._agent_run.request.options.all_turns:
            return
        progress.decided = rule.decide(progress.turns)
        if progress.decided is not None:
            self._enough = True
            await self._tell_all(Enough())

    def _take_times(self, state: CallerState, record: CallRecord) -> None:
        """Pass on when a call was placed, counted from the beginning that all callers had."""
        if self._session.on_call is None or record.planned_ns is None or record.index not in state.starts_ns:
            return
        shift_ns = self._begin_ns + state.starts_ns[record.index] - record.planned_ns
        moved = replace(
            record,
            planned_ns=record.planned_ns + shift_ns,
            placed_ns=None if record.placed_ns is None else record.placed_ns + shift_ns,
            opened_ns=None if record.opened_ns is None else record.opened_ns + shift_ns,
            started_ns=record.started_ns + shift_ns,
            ended_ns=record.ended_ns + shift_ns,
        )
        self._session.on_call(moved)

    def _end_share(self, state: CallerState, message: Finished | Failed) -> None:
        self._agent_run.progress.notes += message.notes
        self._add_sentinel(state, message.sentinel)

    def _add_sentinel(self, state: CallerState, text: str) -> None:
        if state.sentinel is not None and text:
            state.sentinel.add([sample for _, sample in parse_log(text)])

    async def _fail(self, error: TurngapError) -> None:
        """End the session with the first error."""
        if self._error is None:
            self._error = error
            await self._tell_all(Stop())

    def _lose(self, state: CallerState, why: str) -> None:
        """Note that a caller is gone, and what that costs."""
        if self._ends and not state.log.running:
            return  # it was told to end
        state.lost, state.lost_calls = why, state.log.running
        costs = "no call was under way" if not state.lost_calls else f"{_list_calls(state.lost_calls)} under way"
        note = f"{state.caller.name} ({state.caller.place}) was lost: {why}; {costs}"
        self._agent_run.progress.notes.append(note)
        self._display.show_message(f"warning: {note}")

    def _take_back_lost(self) -> tuple[PlannedCall, ...]:
        """Return the calls that lost callers of this round have not done."""
        calls: list[PlannedCall] = []
        for state in self._active:
            if state.lost:
                calls += state.log.remaining
                state.log = CallerLog({})
        return tuple(sorted(calls, key=lambda call: call.index))

    def _list_repeats(self) -> tuple[PlannedCall, ...]:
        """Return the calls to be placed again because the instrument was late; none without a budget."""
        repeats = tuple(self._agent_run.set_aside())
        if repeats:
            self._display.show_message(f"{plural(len(repeats), 'turn')} spoilt by our own lateness: called again")
        return repeats


def _list_calls(indices: Sequence[int]) -> str:
    listed = ", ".join(map(str, indices))
    return f"call {listed} was" if len(indices) == 1 else f"calls {listed} were"
