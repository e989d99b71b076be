"""One simulated Twilio call: the protocol and its pacing. `conversation` knows when to speak, `playout` what is heard.

A frame leaves when it is complete: frame k at started + (k + 1) * 20 ms, on absolute deadlines, without a pause, with
comfort noise between utterances. Everything is written from the scheduler's callback: nothing waits for a task.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from turngap_agent.errors import AgentError, ProtocolError
from turngap_agent.telephony import FRAME_NS, FRAME_SAMPLES, mulaw, signature
from turngap_agent.telephony.messages import OutboundMark, OutboundMedia
from turngap_agent.telephony.parsing import parse_outbound

from turngap.caller.comfort_noise import comfort_noise
from turngap.caller.connection import open_connection
from turngap.caller.conversation import Conversation
from turngap.caller.impairments import Degradations
from turngap.caller.media_stream import Stream
from turngap.caller.network_link import Crossing
from turngap.caller.playout import Playout
from turngap.caller.scheduler import Callback, Scheduler, Timer
from turngap.clock import NS_PER_MS, Clock
from turngap.model.records import CallEnd, CallRecord, Clip, Pcm16, Spoken
from turngap.network import NetworkProfile
from turngap.scenario import PlannedCall

LEAD_NS = 5 * NS_PER_MS
NOISE_FRAMES = 400


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
    network: NetworkProfile | None = None,
) -> CallRecord:
    """Place one call to the agent at `url` (ws:// or wss://) and say the planned turns; `clips` by turn key.

    `seed` and the call's index settle what is random: noise, first timestamp, where speech falls on the frame grid.
    With `auth_token` (default: TWILIO_AUTH_TOKEN, when set) the upgrade is signed as Twilio signs it.

    Always returns a record: a socket that never opened is `REFUSED`, one that the agent ended `AGENT_CLOSED`, each with
    one line in `detail`. `on_spoken(call_sid, turn, spoken)` is called as each utterance is placed, before its first
    frame leaves. Cancelling the task ends the call and returns what was recorded, as `INTERRUPTED`.

    `network` holds up, loses and doubles what travels between the caller and the socket: all times of the record are
    the caller's own, so what it adds is part of the gap. One that breaks the connection makes the end `DISCONNECTED`.
    """
    sid = call_sid or "CA" + secrets.token_hex(16)
    call = _Call(planned, clips, clock, scheduler, seed, sid, labels or {}, on_spoken, network)
    token = os.environ.get("TWILIO_AUTH_TOKEN") if auth_token is None else auth_token
    headers = {signature.HEADER: signature.sign(token, url)} if token else {}
    return await call.run(url, headers, dict(custom_parameters or {}))


class _Call:
    """The state of one call under way."""

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
        network: NetworkProfile | None,
    ) -> None:
        self._planned = planned
        self._clips = clips
        self._clock = clock
        self._scheduler = scheduler
        self._labels = dict(labels)
        self._on_spoken = on_spoken
        self._told = 0
        self._rng = random.Random(f"{seed}:{planned.index}")
        self._noise = comfort_noise(NOISE_FRAMES * FRAME_SAMPLES, f"{seed}:{planned.index}")
        self._first_timestamp_ms = self._rng.randint(100, 170)
        self._call_sid = call_sid
        self._stream_sid = "MZ" + secrets.token_hex(16)
        self._playout = Playout()
        self._crossing = Crossing(network, f"{seed}:{planned.index}", self._at)
        self._degradations = Degradations(planned.line, self._playout, f"{seed}:{planned.index}")
        self._lost_frames: list[int] = []
        self._conversation: Conversation | None = None
        self._stream: Stream | None = None
        self._started_ns = self._ended_ns = clock.now_ns()
        self._chunks: list[int] = []
        self._sent_ns: list[int] = []
        self._sent_pcm: list[Pcm16] = []
        self._timers: set[Timer] = set()
        self._warnings: dict[str, tuple[str, int]] = {}
        self._over: asyncio.Future[tuple[CallEnd, str]] = asyncio.get_running_loop().create_future()

    async def run(self, url: str, headers: Mapping[str, str], custom_parameters: dict[str, str]) -> CallRecord:
        """Open, talk, close."""
        try:
            try:
                connection = await open_connection(
                    url, headers, clock=self._clock, on_message=self._on_message, on_closed=self._on_closed
                )
            except AgentError as fault:
                return self._record(CallEnd.REFUSED, str(fault))
            self._stream = Stream(
                connection,
                stream_sid=self._stream_sid,
                call_sid=self._call_sid,
                account_sid="AC" + "0" * 32,
                first_timestamp_ms=self._first_timestamp_ms,
            )
            self._begin(self._stream, custom_parameters)
            end, detail = await asyncio.shield(self._over)
        except asyncio.CancelledError:
            self._hang_up()
            end, detail = CallEnd.INTERRUPTED, "the run was interrupted"
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        finally:
            for timer in self._timers:
                timer.cancel()
            await self._close()
        return self._record(end, detail)

    async def _close(self) -> None:
        """Close the socket to the end: a second at most, and a record is promised to who cancels meanwhile, too."""
        if self._stream is None:
            return
        closing = asyncio.ensure_future(self._stream.connection.close())
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()

    def _begin(self, stream: Stream, custom_parameters: dict[str, str]) -> None:
        stream.start(custom_parameters)
        # Calls that begin together do not send together: each has its own phase of the 20 ms grid.
        self._started_ns = self._clock.now_ns() + LEAD_NS + self._rng.randrange(FRAME_NS)
        self._conversation = Conversation(
            self._planned.turns,
            self._clips,
            self._playout,
            probe=self._planned.probe,
            started_ns=self._started_ns,
            rng=self._rng,
            on_grid=self._planned.on_grid,
            quiet_ms=self._planned.quiet_ms,
        )
        self._at(self._started_ns + FRAME_NS, self._on_frame)
        if self._crossing.breaks_after_ns is not None:
            self._at(self._started_ns + self._crossing.breaks_after_ns, self._on_broken)

    def _on_frame(self, due_ns: int) -> None:
        assert self._stream is not None
        assert self._conversation is not None
        frame = len(self._sent_ns)
        if not self._conversation.decide(frame):
            self._hang_up()
            return
        if self._on_spoken is not None:
            for turn, spoken in enumerate(self._conversation.spoken[self._told :], self._told):
                self._on_spoken(self._call_sid, turn, spoken)
            self._told = len(self._conversation.spoken)
        noise = frame % NOISE_FRAMES * FRAME_SAMPLES
        pcm = self._conversation.voice(self._noise[noise : noise + FRAME_SAMPLES], frame)
        pcm = self._degradations.apply(pcm, frame, due_ns - FRAME_NS)
        keep = self._conversation.ends_in(frame)
        self._chunks.append(0)
        self._sent_ns.append(self._clock.now_ns())
        if self._degradations.loses() and not keep:
            self._lost_frames.append(frame)
            pcm = np.zeros_like(pcm)
        else:
            write = partial(self._write, frame, mulaw.encode(pcm))
            self._crossing.frame_leaves(due_ns, write, keep=keep)
        self._sent_pcm.append(pcm)
        for digit in self._conversation.keys(frame):
            self._crossing.message_leaves(due_ns, partial(self._stream.key, digit))
        self._at(due_ns + FRAME_NS, self._on_frame)

    def _write(self, frame: int, payload: bytes, held_ns: int) -> None:
        """Hand a frame to the socket, or its second copy, which the network has held up for so long."""
        assert self._stream is not None
        chunk = self._stream.media(frame, payload)
        if not self._chunks[frame]:
            self._chunks[frame] = chunk
            self._sent_ns[frame] = self._clock.now_ns() - held_ns
        if self._stream.unread:
            self._warn("31930", "the agent does not read: Twilio would drop audio")

    def _on_broken(self, due_ns: int) -> None:
        assert self._stream is not None
        self._stream.connection.drop()
        self._ended_ns = self._clock.now_ns()
        after_s = (due_ns - self._started_ns) / 1e9
        detail = f"the network {self._crossing.name!r} broke the connection {after_s:g} s in"
        self._over.set_result((CallEnd.DISCONNECTED, detail))

    def _on_message(self, message: str | bytes, recv_ns: int) -> None:
        self._crossing.message_comes(recv_ns, lambda at_ns: self._take(message, at_ns))

    def _take(self, message: str | bytes, recv_ns: int) -> None:
        if self._over.done():
            return
        if isinstance(message, bytes):
            self._warn("31950", "a binary frame; Twilio takes text frames only")
            return
        try:
            parsed = parse_outbound(message)
        except ProtocolError as fault:
            self._warn("31951", f"an invalid message: {fault}")
            return
        if parsed.stream_sid != self._stream_sid:
            self._warn("31951", f"a message for stream {parsed.stream_sid!r}; this one is {self._stream_sid!r}")
        elif isinstance(parsed, OutboundMedia):
            if not self._playout.receive(self._crossing.heard_of(mulaw.decode(parsed.payload)), recv_ns):
                self._warn("31931", "more than 10 minutes of audio buffered; audio discarded")
        elif isinstance(parsed, OutboundMark):
            due_ns = self._playout.mark(parsed.name, recv_ns)
            if due_ns <= recv_ns:
                self._echo(due_ns)
            else:
                self._at(due_ns, self._echo)
        else:
            self._playout.clear(recv_ns)
            self._echo(None)

    def _on_closed(self, reason: str, now_ns: int) -> None:
        self._crossing.message_comes(now_ns, lambda at_ns: self._end_by_agent(reason, at_ns))

    def _end_by_agent(self, reason: str, now_ns: int) -> None:
        if self._over.done():
            return
        self._ended_ns = now_ns
        spoken = self._conversation.spoken if self._conversation is not None else ()
        where = f"in turn {spoken[-1].utterance_id!r}" if spoken else "before the first turn"
        after_s = max(0, now_ns - self._started_ns) / 1e9
        self._over.set_result((CallEnd.AGENT_CLOSED, f"the agent ended the call {after_s:.1f} s in, {where}: {reason}"))

    def _hang_up(self) -> None:
        """Say `stop`, or drop the socket; it is closed by `run`."""
        if self._over.done() or self._stream is None:
            return
        if self._planned.hang_up == "drop":
            self._stream.connection.drop()
        else:
            self._stream.stop()
        self._ended_ns = self._clock.now_ns()
        self._over.set_result((CallEnd.COMPLETED, ""))

    def _echo(self, due_ns: int | None) -> None:
        assert self._stream is not None
        now_ns = self._clock.now_ns()
        for name in self._playout.echo(now_ns, due_ns):
            self._crossing.message_leaves(now_ns, partial(self._stream.mark, name))

    def _at(self, deadline_ns: int, callback: Callback) -> None:
        def guarded(due_ns: int) -> None:
            self._timers.discard(timer)
            if self._over.done():
                return
            try:
                callback(due_ns)
            except Exception as fault:  # noqa: BLE001  # it comes out of `run`, not out of the scheduler of all calls
                self._over.set_exception(fault)

        timer = self._scheduler.at(deadline_ns, guarded)
        self._timers.add(timer)

    def _warn(self, code: str, text: str) -> None:
        first, count = self._warnings.get(code, (text, 0))
        self._warnings[code] = (first, count + 1)

    def _record(self, end: CallEnd, detail: str) -> CallRecord:
        frames = len(self._sent_ns)
        self._playout.stop(self._ended_ns)
        talk = self._conversation
        spoken = [s for s in talk.spoken if s.start_sample < frames * FRAME_SAMPLES] if talk is not None else []
        warnings = [
            f"{text} (Twilio {code})" + (f" (and {count - 1} more)" if count > 1 else "")
            for code, (text, count) in sorted(self._warnings.items())
        ]
        return CallRecord(
            index=self._planned.index,
            call_sid=self._call_sid,
            stream_sid=self._stream_sid,
            started_ns=self._started_ns,
            sent_ns=np.array(self._sent_ns, np.int64),
            caller_pcm=np.concatenate([np.empty(0, np.int16), *self._sent_pcm]),
            spoken=tuple(spoken),
            received=self._playout.received,
            marks=self._playout.marks,
            clears_ns=self._playout.clears_ns,
            stalls=self._scheduler.stalls(self._started_ns, self._ended_ns),
            ended_ns=self._ended_ns,
            end=end,
            warnings=(*warnings, *(talk.notes if talk is not None else ())),
            detail=detail,
            warm_up=self._planned.warm_up,
            labels=self._labels,
            network=self._crossing.name,
            chunks=np.array(self._chunks, np.int64),
            lost_frames=tuple(self._lost_frames),
        )
