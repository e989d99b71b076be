"""One call in a person's own voice: the microphone's audio as Twilio's frames, the agent's audio to the loudspeaker.

The microphone's own clock sets the pace: a frame leaves when its 160 samples are there, and a sample's time is the time
at which it was spoken, as the device reports it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import FRAME_NS, FRAME_SAMPLES, SAMPLE_RATE, mulaw
from turngap_agent.telephony.messages import OutboundMark, OutboundMedia
from turngap_agent.telephony.parsing import parse_outbound

from turngap.caller.caller_stream import CallerStream
from turngap.caller.connection import Message, open_connection
from turngap.caller.long_message import LongMessage
from turngap.caller.playout import Playout
from turngap.caller.scheduler import Scheduler
from turngap.caller.traffic import Refused
from turngap.clock import NS_PER_MS, Clock
from turngap.model.records import CallEnd, CallRecord, Clip, Pcm16, Spoken
from turngap.talk.devices import Device
from turngap.talk.resampling import LoudspeakerQueue, Resampler, Samples
from turngap.talk.turn_detection import ReplyDetector, estimate_speech

POLL_NS = 100 * NS_PER_MS
"""The interval at which the end of a turn is looked for."""
PATIENCE_NS = 10_000 * NS_PER_MS
"""How long an answer is waited for once the device has no more audio."""
REST_NS = 1_000 * NS_PER_MS
"""How long the call stays open then if no answer is due."""
INPUT_FINISHED, USER_HUNG_UP = "the input is finished", "you hung up"
"""Why a call ended; where the agent did it, the reason starts with "the agent hung up"."""
_ACCOUNT_SID = "AC" + "0" * 32

OnTurn = Callable[[CallRecord], object]
"""Called as each turn ends, with the call so far and that turn as the only utterance in it."""


class TalkCall:
    """One call; `run` it."""

    def __init__(self, device: Device, clock: Clock, scheduler: Scheduler, on_turn: OnTurn) -> None:
        self._device, self._clock, self._scheduler, self._on_turn = device, clock, scheduler, on_turn
        self.call_sid = "CA" + secrets.token_hex(16)
        self._stream_sid = "MZ" + secrets.token_hex(16)
        self._microphone = Resampler(device.rate, SAMPLE_RATE)
        self._loudspeaker = LoudspeakerQueue(device.rate)
        self._playout = Playout()
        self._replies = ReplyDetector(self._playout, 0)
        self._stream: CallerStream | None = None
        self._partial_frame: Pcm16 = np.zeros(0, np.int16)
        self._frames: list[Pcm16] = []
        self._sent_ns: list[int] = []
        self._spoken_ns: list[int] = []
        self._exhausted_ns: int | None = None
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def run(
        self, url: str, headers: Mapping[str, str], stop: asyncio.Event, on_connected: Callable[[], object]
    ) -> str:
        """Talk until `stop` is set, the agent hangs up, or the device has no more audio; return the reason in words.

        `on_connected` is called when the agent has accepted the call, before any audio is sent.

        Raises:
            AgentError: the socket cannot be opened.
            UsageError: the device cannot be opened, or its file cannot be written.
        """
        connection = await open_connection(
            url, headers, clock=self._clock, on_message=self._on_message, on_closed=self._on_closed
        )
        self._stream = CallerStream.twilio(
            connection,
            stream_sid=self._stream_sid,
            call_sid=self.call_sid,
            account_sid=_ACCOUNT_SID,
            first_timestamp_ms=0,
        )
        on_connected()
        stopped = asyncio.create_task(stop.wait())
        try:
            self._stream.send_start({})
            await self._device.start(self._on_block, self._loudspeaker.take)
            self._poll_later()
            either: set[asyncio.Future[Any]] = {stopped, self._over}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not self._over.done():
                self._over.set_result(USER_HUNG_UP)
            return self._over.result()
        finally:
            stopped.cancel()
            self._stream.send_stop()
            await connection.close()
            await self._device.stop()

    def has_unanswered_speech(self) -> bool:
        """Return whether the person spoke after the last reply."""
        return estimate_speech(self._frames_spoken(self._replies.from_ns, self._clock.now_ns())[1]) is not None

    def _on_block(self, samples: Samples, spoken_ns: int) -> None:
        assert self._stream is not None
        if self._over.done():
            return
        resampled = self._microphone.push(samples)
        pcm = np.clip(np.rint(resampled * 32_768), -32_768, 32_767).astype(np.int16)
        self._partial_frame = np.concatenate([self._partial_frame, pcm])
        # The time at which sample 0 of the stream was spoken, if the device has kept its rate since.
        age_s = self._microphone.samples_in / self._device.rate + self._microphone.delay_s
        start_ns = spoken_ns - round(age_s * 1e9)
        while len(self._partial_frame) >= FRAME_SAMPLES:
            frame, self._partial_frame = self._partial_frame[:FRAME_SAMPLES], self._partial_frame[FRAME_SAMPLES:]
            number = len(self._sent_ns)
            self._stream.send_media(number, mulaw.encode(frame))
            self._sent_ns.append(self._clock.now_ns())
            self._spoken_ns.append(start_ns + (number + 1) * FRAME_NS)
            self._frames.append(frame)

    def _on_message(self, message: Message, recv_ns: int) -> None:
        if isinstance(message, Refused | LongMessage):
            return  # as for what is invalid
        try:
            parsed = parse_outbound(message)
        except ProtocolError:
            return  # `turngap run` warns of invalid messages; a person who talks has no use for that
        if self._over.done() or parsed.stream_sid != self._stream_sid:
            return
        if isinstance(parsed, OutboundMedia):
            pcm = mulaw.decode(parsed.payload)
            if self._playout.receive(pcm, recv_ns):
                self._loudspeaker.feed(pcm)
        elif isinstance(parsed, OutboundMark):
            self._scheduler.call_at(self._playout.add_mark(parsed.name, recv_ns), self._echo_marks)
        else:
            self._playout.clear(recv_ns)
            self._loudspeaker.clear()
            self._echo_marks(None)

    def _echo_marks(self, due_ns: int | None) -> None:
        assert self._stream is not None
        for name in self._playout.echo_marks(self._clock.now_ns(), due_ns):
            self._stream.send_mark(name)

    def _on_closed(self, reason: str, _: int) -> None:
        if not self._over.done():
            self._over.set_result(f"the agent hung up: {reason}")

    def _poll_later(self) -> None:
        self._scheduler.call_at(self._clock.now_ns() + POLL_NS, self._poll)

    def _poll(self, _: int) -> None:
        if self._over.done():
            return
        now_ns = self._clock.now_ns()
        try:
            onset_ns = self._replies.find_finished_reply(now_ns)
            if onset_ns is not None:
                self._report_turn(onset_ns, now_ns)
                self._replies.start_next_turn()
            if self._device.exhausted and self._is_finished(now_ns):
                self._over.set_result(INPUT_FINISHED)
        except Exception as error:  # noqa: BLE001  # raised by `run`, not by the scheduler
            self._over.set_exception(error)
        self._poll_later()

    def _is_finished(self, now_ns: int) -> bool:
        """Return whether the device has no more audio and no answer is waited for any longer."""
        if self._exhausted_ns is None:
            self._exhausted_ns = now_ns
        if self._replies.onset_ns is not None:
            return False
        quiet_ns = now_ns - max(self._exhausted_ns, self._playout.end_ns)
        return quiet_ns >= (PATIENCE_NS if self.has_unanswered_speech() else REST_NS)

    def _report_turn(self, onset_ns: int, now_ns: int) -> None:
        """Call `on_turn` for the turn that ends with the reply at `onset_ns`, if the person spoke before it."""
        first, pcm = self._frames_spoken(self._replies.from_ns, onset_ns)
        speech = estimate_speech(pcm)
        if speech is None:
            return
        start, end = (first * FRAME_SAMPLES + at for at in (speech.start_sample, speech.end_sample))
        caller_pcm = np.concatenate(self._frames)
        clip = Clip("microphone", caller_pcm[start:end], 0, None, speech.low_ms, speech.high_ms, "microphone", False)
        frame = (end - 1) // FRAME_SAMPLES
        self._on_turn(
            CallRecord(
                index=0,
                call_sid=self.call_sid,
                stream_sid=self._stream_sid,
                # Relative to the frame that holds the end of speech: in a long talk the two clocks drift apart.
                started_ns=self._spoken_ns[frame] - (frame + 1) * FRAME_NS,
                sent_ns=np.array(self._sent_ns, np.int64),
                caller_pcm=caller_pcm,
                spoken=(Spoken("microphone", clip, start, end, now_ns),),
                received=self._playout.received,
                marks=self._playout.marks,
                clears_ns=self._playout.clears_ns,
                stalls=self._scheduler.stalls(onset_ns - PATIENCE_NS, now_ns),
                ended_ns=now_ns,
                end=CallEnd.COMPLETED,
            )
        )

    def _frames_spoken(self, from_ns: int, to_ns: int) -> tuple[int, Pcm16]:
        """Return the frames spoken entirely in that time: the number of the first one, and their audio."""
        first, end = np.searchsorted(np.array(self._spoken_ns, np.int64), [from_ns + FRAME_NS, to_ns + 1])
        empty = np.zeros(0, np.int16)
        return int(first), np.concatenate([empty, *self._frames[int(first) : int(end)]])
