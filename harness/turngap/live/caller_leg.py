"""The caller's leg of a live call: what we say over Twilio, paced in real time, and what comes back.

Twilio plays what it is given at once, so frame k is handed over at its *beginning*, started + k * 20 ms: a sample's
time is when Twilio plays it if nothing on the way takes any time. What was handed over late has piled up there as much
later; between utterances some noise is left out until that has played.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from turngap_agent.telephony import FRAME_NS, FRAME_SAMPLES, mulaw
from turngap_agent.telephony.messages import InboundMedia, OutboundMedia, Start, Stop

from turngap.caller.comfort_noise import comfort_noise
from turngap.caller.conversation import Conversation
from turngap.caller.playout import Playout
from turngap.caller.scheduler import Scheduler, Timer
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE, Clock
from turngap.live.leg_audio import InboundAudio, TimedAudio
from turngap.live.media_stream import MediaStream
from turngap.model.records import CallEnd, CallRecord, Clip, Pcm16
from turngap.scenario import PlannedCall

LEAD_NS = 40 * NS_PER_MS
NOISE_FRAMES = 400
DRAINS = (10, 20)
"""So many frames after speech one frame of noise is left out: what piled up on the way, unseen, plays out."""


@dataclass(frozen=True, slots=True)
class CallerTrace:
    """What the caller's leg saw."""

    record: CallRecord
    """As scoring takes it: `received` at line time."""
    heard: TimedAudio
    late_ns: tuple[int, ...]
    """By utterance: how much later than at its own time Twilio got its last sample to play, by our own lateness."""
    jitter_ms: float | None


class CallerLeg:
    """One call's caller; `serve` runs its stream, `begin` starts to speak."""

    def __init__(
        self, planned: PlannedCall, clips: Mapping[str, Clip], *, clock: Clock, scheduler: Scheduler, seed: int
    ) -> None:
        self._planned = planned
        self._clips = clips
        self._clock = clock
        self._scheduler = scheduler
        self._seed = f"{seed}:{planned.index}"
        self._noise = comfort_noise(NOISE_FRAMES * FRAME_SAMPLES, self._seed)
        self._track = InboundAudio()
        self._playout = Playout()
        self._conversation: Conversation | None = None
        self._wire: MediaStream | None = None
        self._stream_sid = ""
        self._started_ns = self._ended_ns = clock.now_ns()
        self._sent_ns: list[int] = []
        self._sent_pcm: list[Pcm16] = []
        self._buffered = Playout()
        self._quiet_frames = 0
        self._timer: Timer | None = None
        self.opened = asyncio.Event()
        """Set when Twilio's `start` has come."""
        self.over: asyncio.Future[tuple[CallEnd, str]] = asyncio.get_running_loop().create_future()

    async def serve(self, wire: MediaStream) -> None:
        """Read the stream until it ends."""
        self._wire = wire
        stopped = False
        async for message, arrival_ns in wire.messages():
            if isinstance(message, Start):
                self._stream_sid = message.stream_sid
                self.opened.set()
            elif isinstance(message, InboundMedia) and not self.over.done():
                frame = self._track.add(message, arrival_ns)
                self._playout.receive(frame.pcm, arrival_ns)
            elif isinstance(message, Stop):
                stopped = True
                break
        if stopped:
            self.end(
                CallEnd.AGENT_CLOSED, "Twilio ended the stream: the other side hung up, or a time limit was reached"
            )
        else:
            self.end(CallEnd.DISCONNECTED, "the stream broke off, without a `stop` from Twilio")

    def begin(self) -> None:
        """Start to send: both ends are there."""
        assert self._wire is not None
        self._started_ns = self._clock.now_ns() + LEAD_NS
        self._conversation = Conversation(
            self._planned.turns,
            self._clips,
            self._playout,
            probe=self._planned.probe,
            started_ns=self._started_ns,
            rng=random.Random(self._seed),
            on_grid=self._planned.on_grid,
        )
        self._timer = self._scheduler.at(self._started_ns, self._on_frame)

    def end(self, how: CallEnd, detail: str = "") -> None:
        """The call is over; what happens after is not recorded."""
        if self.over.done():
            return
        self._ended_ns = self._clock.now_ns()
        if self._timer is not None:
            self._timer.cancel()
        self.over.set_result((how, detail))

    def hang_up(self) -> None:
        """Close the stream: Twilio goes on to the end of the TwiML, and ends the call."""
        if self._wire is not None:
            self._wire.close()

    def trace(self) -> CallerTrace:
        """What was seen; call it when it is over."""
        end, detail = self.over.result()
        frames = len(self._sent_pcm)
        talk = self._conversation
        spoken = [one for one in talk.spoken if one.start_sample < frames * FRAME_SAMPLES] if talk is not None else []
        sent_ns = np.array(self._sent_ns[:frames], np.int64)
        record = CallRecord(
            index=self._planned.index,
            call_sid=f"live-{self._planned.index}",
            stream_sid="",
            started_ns=self._started_ns,
            sent_ns=np.pad(sent_ns, (0, frames - len(sent_ns)), constant_values=self._ended_ns),
            caller_pcm=np.concatenate([np.empty(0, np.int16), *self._sent_pcm]),
            spoken=tuple(spoken),
            received=self._track.received(),
            marks=(),
            clears_ns=(),
            stalls=self._scheduler.stalls(self._started_ns, self._ended_ns),
            ended_ns=self._ended_ns,
            end=end,
            warnings=(*(self._wire.faults if self._wire is not None else ()), *(talk.notes if talk else ())),
            detail=detail,
            warm_up=self._planned.warm_up,
            lead_ns=0,
        )
        return CallerTrace(record, self._track.line(), self._late_ns(record), self._track.jitter_ms())

    def _late_ns(self, record: CallRecord) -> tuple[int, ...]:
        found = []
        frames = self._buffered.received_since(0)
        for spoken in record.spoken:
            frame = max(0, spoken.end_sample - 1) // FRAME_SAMPLES
            due_ns = record.frame_due_ns(frame)
            found.append(max(0, frames[frame].play_ns - due_ns) if frame < len(frames) else 0)
        return tuple(found)

    def _on_frame(self, due_ns: int) -> None:
        assert self._conversation is not None
        assert self._wire is not None
        if self.over.done():
            return
        frame = len(self._sent_pcm)
        if not self._conversation.decide(frame):
            self.end(CallEnd.COMPLETED)
            return
        noise = frame % NOISE_FRAMES * FRAME_SAMPLES
        pcm = self._conversation.voice(self._noise[noise : noise + FRAME_SAMPLES], frame)
        self._sent_pcm.append(pcm)
        handed = pcm[self._too_many(frame, due_ns) :]

        def sent(at_ns: int) -> None:
            self._sent_ns.append(at_ns)
            self._buffered.receive(handed, at_ns)

        if len(handed):
            self._wire.send(OutboundMedia(self._stream_sid, mulaw.encode(handed)).to_json(), sent)
        else:
            sent(due_ns)
        self._timer = self._scheduler.at(due_ns + FRAME_NS, self._on_frame)

    def _too_many(self, frame: int, due_ns: int) -> int:
        """How many samples of a frame of mere noise are left out, so that no delay stays at Twilio."""
        assert self._conversation is not None
        last = self._conversation.spoken[-1:]
        speaks = any(
            one.start_sample < (frame + 1) * FRAME_SAMPLES and one.end_sample > frame * FRAME_SAMPLES for one in last
        )
        self._quiet_frames = 0 if speaks else self._quiet_frames + 1
        if speaks:
            return 0
        if self._quiet_frames in DRAINS:
            return FRAME_SAMPLES
        return min(FRAME_SAMPLES // 2, max(0, self._buffered.end_ns - due_ns) // NS_PER_SAMPLE)
