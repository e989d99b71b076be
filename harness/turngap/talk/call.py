"""One call in a person's own voice: the microphone's audio as Twilio's frames, the agent's to the loudspeaker.

The microphone's own clock sets the pace: a frame leaves when its 160 samples are there, and the time of each sample is
that at which it was spoken, by the device.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import FRAME_MS, FRAME_NS, FRAME_SAMPLES, SAMPLE_RATE, mulaw
from turngap_agent.telephony.messages import (
    Connected,
    InboundMark,
    InboundMedia,
    OutboundMark,
    OutboundMedia,
    Start,
    Stop,
)
from turngap_agent.telephony.parsing import parse_outbound

from turngap.caller.connection import Connection, open_connection
from turngap.caller.playout import Playout
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, Clock
from turngap.model.records import CallEnd, CallRecord, Clip, Pcm16, Spoken
from turngap.talk.devices import Device
from turngap.talk.resampling import Resampler, Samples
from turngap.talk.speaker import Speaker
from turngap.talk.turn_detection import speech_in
from turngap.talk.turns import Turns

LOOK_NS = 100 * NS_PER_MS
"""How often it is asked whether a turn is over."""
PATIENCE_NS = 10_000 * NS_PER_MS
"""How long an answer is waited for when nothing more will be said."""
REST_NS = 1_000 * NS_PER_MS
"""How long the line stays open then, when nothing is waited for."""
_ACCOUNT_SID = "AC" + "0" * 32

OnTurn = Callable[[CallRecord], object]
"""Called as each turn is over, with the call so far and that turn as the one thing spoken in it."""


class TalkCall:
    """One call; `run` it."""

    def __init__(self, device: Device, clock: Clock, scheduler: Scheduler, on_turn: OnTurn) -> None:
        self._device, self._clock, self._scheduler, self._on_turn = device, clock, scheduler, on_turn
        self.call_sid = "CA" + secrets.token_hex(16)
        self._stream_sid = "MZ" + secrets.token_hex(16)
        self._microphone = Resampler(device.rate, SAMPLE_RATE)
        self._speaker = Speaker(device.rate)
        self._playout = Playout()
        self._turns = Turns(self._playout, 0)
        self._connection: Connection | None = None
        self._waiting: Pcm16 = np.zeros(0, np.int16)
        self._said: list[Pcm16] = []
        self._sent_ns: list[int] = []
        self._spoken_ns: list[int] = []
        self._sequence = 1
        self._exhausted_ns: int | None = None
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def run(
        self, url: str, headers: Mapping[str, str], stop: asyncio.Event, on_connected: Callable[[], object]
    ) -> str:
        """Talk until `stop` is set, the agent hangs up, or the device has no more to say; gives the reason in words.

        `on_connected` is called when the agent has taken the call, before anything is said.

        Raises:
            AgentError: the socket cannot be opened.
            UsageError: the device cannot be opened, or what it was to write cannot be written.
        """
        self._connection = await open_connection(
            url, headers, clock=self._clock, on_message=self._on_message, on_closed=self._on_closed
        )
        on_connected()
        stopped = asyncio.create_task(stop.wait())
        try:
            self._connection.send(Connected().to_json())
            self._connection.send(Start(self._stream_sid, self.call_sid, _ACCOUNT_SID).to_json())
            await self._device.start(self._on_block, self._speaker.take)
            self._look_again()
            either: set[asyncio.Future[Any]] = {stopped, self._over}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not self._over.done():
                self._over.set_result("you hung up")
            return self._over.result()
        finally:
            stopped.cancel()
            self._connection.send(Stop(self._stream_sid, self._next(), _ACCOUNT_SID, self.call_sid).to_json())
            await self._connection.close()
            await self._device.stop()

    def _on_block(self, samples: Samples, spoken_ns: int) -> None:
        assert self._connection is not None
        if self._over.done():
            return
        given = self._microphone.push(samples)
        pcm = np.clip(np.rint(given * 32_768), -32_768, 32_767).astype(np.int16)
        self._waiting = np.concatenate([self._waiting, pcm])
        # When sample 0 of the stream was spoken, if the device has kept its rate since.
        ago_s = self._microphone.taken / self._device.rate + self._microphone.delay_s
        began_ns = spoken_ns - round(ago_s * 1e9)
        while len(self._waiting) >= FRAME_SAMPLES:
            frame, self._waiting = self._waiting[:FRAME_SAMPLES], self._waiting[FRAME_SAMPLES:]
            number = len(self._sent_ns)
            media = InboundMedia(
                stream_sid=self._stream_sid,
                sequence_number=self._next(),
                chunk=number + 1,
                timestamp_ms=number * FRAME_MS,
                payload=mulaw.encode(frame),
            )
            self._connection.send(media.to_json())
            self._sent_ns.append(self._clock.now_ns())
            self._spoken_ns.append(began_ns + (number + 1) * FRAME_NS)
            self._said.append(frame)

    def _on_message(self, message: str | bytes, recv_ns: int) -> None:
        try:
            parsed = parse_outbound(message)
        except ProtocolError:
            return  # an instrument warns of it (`turngap run`); here somebody wants to talk
        if self._over.done() or parsed.stream_sid != self._stream_sid:
            return
        if isinstance(parsed, OutboundMedia):
            pcm = mulaw.decode(parsed.payload)
            if self._playout.receive(pcm, recv_ns):
                self._speaker.feed(pcm)
        elif isinstance(parsed, OutboundMark):
            self._scheduler.at(self._playout.mark(parsed.name, recv_ns), self._echo)
        else:
            self._playout.clear(recv_ns)
            self._speaker.clear()
            self._echo(None)

    def _echo(self, due_ns: int | None) -> None:
        assert self._connection is not None
        for name in self._playout.echo(self._clock.now_ns(), due_ns):
            self._connection.send(InboundMark(self._stream_sid, self._next(), name).to_json())

    def _on_closed(self, reason: str, _: int) -> None:
        if not self._over.done():
            self._over.set_result(f"the agent hung up: {reason}")

    def _look_again(self) -> None:
        self._scheduler.at(self._clock.now_ns() + LOOK_NS, self._look)

    def _look(self, _: int) -> None:
        if self._over.done():
            return
        now_ns = self._clock.now_ns()
        try:
            onset_ns = self._turns.reply_over(now_ns)
            if onset_ns is not None:
                self._tell(onset_ns, now_ns)
                self._turns.next()
            if self._device.exhausted and self._done(now_ns):
                self._over.set_result("everything was said")
        except Exception as fault:  # noqa: BLE001  # it comes out of `run`, not out of the scheduler
            self._over.set_exception(fault)
        self._look_again()

    def _done(self, now_ns: int) -> bool:
        """Nothing more will be said, and no answer is waited for any longer."""
        if self._exhausted_ns is None:
            self._exhausted_ns = now_ns
        if self._turns.onset_ns is not None:
            return False
        quiet_ns = now_ns - max(self._exhausted_ns, self._playout.end_ns)
        answered = speech_in(self._said_since(self._turns.from_ns, now_ns)[1]) is None
        return quiet_ns >= (REST_NS if answered else PATIENCE_NS)

    def _tell(self, onset_ns: int, now_ns: int) -> None:
        """Hand on the call so far with the turn that ends with that reply, if anybody spoke before it."""
        first, pcm = self._said_since(self._turns.from_ns, onset_ns)
        speech = speech_in(pcm)
        if speech is None:
            return
        start, end = (first * FRAME_SAMPLES + at for at in (speech.start, speech.end))
        said = np.concatenate(self._said)
        clip = Clip("microphone", said[start:end], 0, None, speech.low_ms, speech.high_ms, "microphone", False)
        frame = (end - 1) // FRAME_SAMPLES
        self._on_turn(
            CallRecord(
                index=0,
                call_sid=self.call_sid,
                stream_sid=self._stream_sid,
                # By the frame that holds the end of speech: two clocks drift apart in a long talk.
                started_ns=self._spoken_ns[frame] - (frame + 1) * FRAME_NS,
                sent_ns=np.array(self._sent_ns, np.int64),
                caller_pcm=said,
                spoken=(Spoken("microphone", clip, start, end, now_ns),),
                received=self._playout.received,
                marks=self._playout.marks,
                clears_ns=self._playout.clears_ns,
                stalls=self._scheduler.stalls(onset_ns - PATIENCE_NS, now_ns),
                ended_ns=now_ns,
                end=CallEnd.COMPLETED,
            )
        )

    def _said_since(self, from_ns: int, to_ns: int) -> tuple[int, Pcm16]:
        """The frames spoken wholly in that time: the first one's number, and their audio."""
        first, beyond = np.searchsorted(np.array(self._spoken_ns, np.int64), [from_ns + FRAME_NS, to_ns + 1])
        empty = np.zeros(0, np.int16)
        return int(first), np.concatenate([empty, *self._said[int(first) : int(beyond)]])

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence
