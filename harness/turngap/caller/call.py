"""One simulated call: its pacing, its start and its end, and the record of it.

`conversation` decides when the caller speaks, `agent_messages` handles what the agent sends. A frame leaves when it is
complete: frame k at started + (k + 1) * 20 ms, on absolute deadlines, without a pause, with comfort noise between
utterances. All messages are written from the scheduler's callback: no message waits for a task.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from turngap_agent.errors import AgentError
from turngap_agent.telephony import FRAME_NS, signature
from turngap_agent.tracing import Span

from turngap.caller.agent_messages import AgentMessages
from turngap.caller.call_endings import close_surely, describe_agent_end
from turngap.caller.call_timers import CallTimers
from turngap.caller.caller_stream import CallerStream
from turngap.caller.connection import Message, open_connection
from turngap.caller.connection_errors import describe_error, strip_code
from turngap.caller.content_watch import ContentWatch
from turngap.caller.conversation import Conversation
from turngap.caller.dialects import StreamNames, Wire
from turngap.caller.dialects.registry import TWILIO, describe_buffer, make_dialect
from turngap.caller.line_audio import LineAudio
from turngap.caller.network_link import NetworkLink
from turngap.caller.playout import Playout
from turngap.caller.scheduler import Scheduler
from turngap.caller.sent_frames import SentFrames
from turngap.caller.sip.line import choose_opening
from turngap.caller.traffic import Refused
from turngap.clock import NS_PER_MS, Clock
from turngap.model.records import CallEnd, CallRecord, Clip, Spoken
from turngap.scenario import PlannedCall

LEAD_NS = 5 * NS_PER_MS


async def place_call(
    url: str,
    planned: PlannedCall,
    clips: Mapping[str, Clip],
    *,
    clock: Clock,
    scheduler: Scheduler,
    seed: int,
    auth_token: str | None = None,
    call_sid: str | None = None,
    custom_parameters: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    on_spoken: Callable[[str, int, Spoken], None] | None = None,
    spans_so_far: Callable[[str], Sequence[Span]] | None = None,
    dialect: str = TWILIO,
) -> CallRecord:
    """Place one call to the agent at `url` (ws://, wss:// or sip:) and speak the planned turns; `clips` by turn key.

    `dialect`: the wire format, one of `dialects.registry.DIALECTS`.

    `seed` and the call's index determine all that is random: noise, the first timestamp, where speech falls on the
    frame grid. With `auth_token` (default: TWILIO_AUTH_TOKEN, if set) the upgrade is signed as Twilio signs it.
    `on_spoken(call_sid, turn, spoken)` is called as each utterance is placed, before its first frame leaves.
    `spans_so_far(call_sid)` returns the agent's spans that have arrived: its clauses say when content was heard.

    What `planned.network` adds is part of the gap: all times of the record are the caller's own.

    Always returns a record. Its `end` is `REFUSED`, `AGENT_CLOSED`, `DISCONNECTED` or `FLOODED` with one line in
    `detail` if something went wrong. Cancelling the task ends the call; what was recorded is `INTERRUPTED`.
    """
    own_sid = call_sid or "CA" + secrets.token_hex(16)
    call = _Call(planned, clips, clock, scheduler, seed, own_sid, labels or {}, on_spoken, spans_so_far, dialect)
    token = os.environ.get("TWILIO_AUTH_TOKEN") if auth_token is None else auth_token
    headers = {signature.HEADER: signature.sign(token, url)} if token else {}
    return await call.run(url, headers, dict(custom_parameters or {}))


class _Call:
    """The state of one call in progress."""

    def __init__(
        self,
        planned: PlannedCall,
        clips: Mapping[str, Clip],
        clock: Clock,
        scheduler: Scheduler,
        seed: int,
        call_sid: str,
        labels: Mapping[str, str],
        on_spoken: Callable[[str, int, Spoken], None] | None,
        spans_so_far: Callable[[str], Sequence[Span]] | None,
        dialect: str,
    ) -> None:
        self._planned, self._clips = planned, clips
        self._clock, self._scheduler = clock, scheduler
        self._labels, self._on_spoken = dict(labels), on_spoken
        self._spans_so_far = None if spans_so_far is None else partial(spans_so_far, call_sid)
        self._reported_spoken = 0
        self._own_seed = f"{seed}:{planned.index}"
        self._rng = random.Random(self._own_seed)
        self._names = StreamNames(
            stream="MZ" + secrets.token_hex(16),
            call=call_sid,
            account="AC" + "0" * 32,
            first_timestamp_ms=self._rng.randint(100, 170),
            unix_ms=clock.unix_ns() // NS_PER_MS,
        )
        self._dialect = make_dialect(dialect, self._names)
        self._playout = Playout(self._dialect.max_buffered_ns)
        self._over: asyncio.Future[tuple[CallEnd, str]] = asyncio.get_running_loop().create_future()
        self._timers = CallTimers(scheduler, self._over)
        self._link = NetworkLink(planned.network, self._own_seed, self._timers.call_at)
        self._messages = AgentMessages(
            self._dialect,
            self._playout,
            self._link,
            clock=clock,
            call_at=self._timers.call_at,
            send=self._send,
            on_audio=self._hear,
            on_hang_up=partial(self._end_by_agent, "it hung up"),
        )
        self._sent = SentFrames()
        self._conversation: Conversation | None = None
        self._audio: LineAudio | None = None
        self._stream: CallerStream | None = None
        self._started_ns = self._ended_ns = clock.now_ns()
        self._opened_ns: int | None = None

    async def run(self, url: str, headers: Mapping[str, str], custom_parameters: dict[str, str]) -> CallRecord:
        """Open the stream, hold the conversation, close the stream; return the record."""
        try:
            try:
                opening = choose_opening(self._dialect.name, open_connection, self._names.call, custom_parameters)
                connection = await opening(
                    url, headers, clock=self._clock, on_message=self._on_message, on_closed=self._on_closed
                )
            except AgentError as error:
                return await self._make_record(CallEnd.REFUSED, describe_error(error, self._dialect.name))
            self._stream = CallerStream(connection, self._dialect)
            self._start(self._stream, custom_parameters)
            end, detail = await asyncio.shield(self._over)
        except asyncio.CancelledError:
            self._hang_up()
            end, detail = CallEnd.INTERRUPTED, "the run was interrupted"
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        finally:
            self._timers.cancel()
            await close_surely(self._stream)
        return await self._make_record(end, detail)

    def _start(self, stream: CallerStream, custom_parameters: dict[str, str]) -> None:
        stream.send_start(custom_parameters)
        self._opened_ns = self._clock.now_ns()
        # Calls that start together do not send together: each has its own phase of the 20 ms grid.
        self._started_ns = self._opened_ns + LEAD_NS + self._rng.randrange(FRAME_NS)
        self._conversation = Conversation(
            self._planned.turns,
            self._clips,
            self._playout,
            probe=self._planned.probe,
            started_ns=self._started_ns,
            rng=self._rng,
            on_grid=self._planned.on_grid,
            quiet_ms=self._planned.quiet_ms,
            content=ContentWatch(self._playout, self._planned.contentless, self._spans_so_far)
            if self._planned.waits_for_content
            else None,
        )
        self._audio = LineAudio(self._conversation, self._playout, self._planned.line, self._own_seed)
        self._timers.call_every(FRAME_NS, self._started_ns + FRAME_NS, self._send_frame)
        if self._link.breaks_after_ns is not None:
            self._timers.call_at(self._started_ns + self._link.breaks_after_ns, self._on_broken)

    def _send_frame(self, due_ns: int) -> None:
        assert self._stream is not None
        assert self._conversation is not None
        assert self._audio is not None
        frame = len(self._sent)
        if not self._conversation.decide(frame):
            self._hang_up()
            return
        if self._on_spoken is not None:
            for turn, spoken in enumerate(self._conversation.spoken[self._reported_spoken :], self._reported_spoken):
                self._on_spoken(self._names.call, turn, spoken)
            self._reported_spoken = len(self._conversation.spoken)
        pcm, payload = self._audio.read_frame(frame, due_ns - FRAME_NS)
        self._sent.begin(self._clock.now_ns())
        keep = self._conversation.utterance_ends_in(frame)
        is_lost = self._audio.is_lost(pcm, keep=keep)
        if not is_lost:
            self._link.send_frame(due_ns, partial(self._write_frame, frame, payload), keep=keep)
        self._sent.finish(pcm, lost=is_lost)
        for digit in self._conversation.keys_released_in(frame):
            self._link.send_message(due_ns, partial(self._stream.send_key, digit))

    def _write_frame(self, frame: int, payload: bytes, delay_ns: int) -> None:
        """Write a frame, or its second copy, to the socket; the network has delayed it by `delay_ns`."""
        assert self._stream is not None
        chunk = self._stream.send_media(frame, payload)
        self._sent.note_written(frame, chunk, self._clock.now_ns() - delay_ns)
        if self._stream.is_unread:
            self._messages.warn("31930", f"the agent does not read: {self._dialect.platform} would drop audio")

    def _send(self, message: Wire) -> None:
        assert self._stream is not None
        self._stream.connection.send(message)

    def _hear(self) -> None:
        if self._conversation is not None:
            self._conversation.hear()

    def _on_broken(self, due_ns: int) -> None:
        assert self._stream is not None
        self._stream.connection.drop()
        self._ended_ns = self._clock.now_ns()
        broke = f"broke the connection after {(due_ns - self._started_ns) / 1e9:g} s"
        self._over.set_result((CallEnd.DISCONNECTED, f"the network {self._link.name!r} {broke}"))

    def _on_message(self, message: Message, recv_ns: int) -> None:
        if isinstance(message, Refused) and message.ends_call:
            self._end_flood(message, recv_ns)
        else:
            self._link.receive_message(recv_ns, partial(self._handle_message, message))

    def _handle_message(self, message: Message, recv_ns: int) -> None:
        if not self._over.done():
            self._messages.handle(message, recv_ns)

    def _end_flood(self, refused: Refused, now_ns: int) -> None:
        if not self._over.done():
            self._ended_ns = now_ns
            self._over.set_result((CallEnd.FLOODED, refused.reason))

    def _on_closed(self, reason: str, now_ns: int) -> None:
        self._link.receive_message(now_ns, partial(self._end_by_agent, strip_code(reason, self._dialect.name)))

    def _end_by_agent(self, reason: str, now_ns: int) -> None:
        if self._over.done():
            return
        self._ended_ns = now_ns
        end = describe_agent_end(reason, max(0, now_ns - self._started_ns), self._conversation)
        self._over.set_result((CallEnd.AGENT_CLOSED, end))

    def _hang_up(self) -> None:
        """Send `stop`, or drop the socket; `run` closes it."""
        if self._over.done() or self._stream is None:
            return
        self._ended_ns = self._clock.now_ns()  # before it leaves: whatever the agent does about it is later
        if self._planned.hang_up == "drop":
            self._stream.connection.drop()
        else:
            self._stream.send_stop()
        self._over.set_result((CallEnd.COMPLETED, ""))

    async def _make_record(self, end: CallEnd, detail: str) -> CallRecord:
        for _ in self._playout.truncate_in_steps(self._ended_ns):
            await asyncio.sleep(0)
        talk = self._conversation
        spoken = [s for s in talk.spoken if s.start_sample < self._sent.samples] if talk is not None else []
        return CallRecord(
            index=self._planned.index,
            call_sid=self._names.call,
            stream_sid=self._names.stream,
            started_ns=self._started_ns,
            spoken=tuple(spoken),
            received=self._playout.received,
            marks=self._playout.marks,
            clears_ns=self._playout.clears_ns,
            stalls=self._scheduler.stalls(self._started_ns, self._ended_ns),
            ended_ns=self._ended_ns,
            end=end,
            warnings=(*self._messages.warnings, *(talk.notes if talk is not None else ())),
            detail=detail,
            warm_up=self._planned.warm_up,
            labels=self._labels,
            network=self._link.name,
            dialect=self._dialect.name,
            refused_bytes=tuple(self._messages.refused_bytes),
            buffer=describe_buffer(self._dialect),
            discarded_samples=tuple(self._messages.discarded_samples),
            opened_ns=self._opened_ns,
            **self._sent.to_record(),
        )
