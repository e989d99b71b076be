"""The caller's leg of a live call: sends the caller's audio to Twilio in real time, and records what comes back.

Twilio plays audio as soon as it gets it, so frame k is sent at its *beginning*, start + k * 20 ms: a sample's time is
when Twilio would play it if transport took no time. A frame that is sent late delays everything behind it in Twilio's
buffer; between utterances some noise is left out until the buffer has caught up.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from turngap_agent.telephony import FRAME_NS, FRAME_SAMPLES, mulaw
from turngap_agent.telephony.messages import InboundMedia, OutboundMedia, Start, Stop

from turngap.caller.comfort_noise import NoiseLoop
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
SKIPPED_QUIET_FRAMES = (10, 20)
"""These frames of noise after speech are not sent, so that delay that built up unseen on the way drains."""


@dataclass(frozen=True, slots=True)
class CallerTrace:
    """What was recorded on the caller's leg."""

    record: CallRecord
    """The call for scoring: `received` at the samples' own times."""
    inbound: TimedAudio
    """Audio from Twilio: what the caller hears."""
    late_ns: tuple[int, ...]
    """For each utterance, by how much the instrument's own lateness delayed its last sample."""
    jitter_ms: float | None


class CallerLeg:
    """The caller of one call; `serve` runs its stream, `begin` starts the conversation."""

    def __init__(
        self, planned: PlannedCall, clips: Mapping[str, Clip], *, clock: Clock, scheduler: Scheduler, seed: int
    ) -> None:
        self._planned = planned
        self._clips = clips
        self._clock = clock
        self._scheduler = scheduler
        self._seed = f"{seed}:{planned.index}"
        self._noise = NoiseLoop(NOISE_FRAMES, self._seed)
        self._inbound = InboundAudio()
        self._playout = Playout()
        self._conversation: Conversation | None = None
        self._stream: MediaStream | None = None
        self._stream_sid = ""
        self._started_ns = self._ended_ns = clock.now_ns()
        self._sent_ns: list[int] = []
        self._sent_pcm: list[Pcm16] = []
        self._buffered = Playout()
        self._quiet_frames = 0
        self._timer: Timer | None = None
        self.opened = asyncio.Event()
        """Set when Twilio's `start` has arrived."""
        self.over: asyncio.Future[tuple[CallEnd, str]] = asyncio.get_running_loop().create_future()

    async def serve(self, stream: MediaStream) -> None:
        """Read the stream until it ends."""
        self._stream = stream
        stopped = False
        async for message, arrival_ns in stream.messages():
            if isinstance(message, Start):
                self._stream_sid = message.stream_sid
                self.opened.set()
            elif isinstance(message, InboundMedia) and not self.over.done():
                frame = self._inbound.add(message, arrival_ns)
                self._playout.receive(frame.pcm, arrival_ns)
            elif isinstance(message, Stop):
                stopped = True
                break
        if stopped:
            self.end(
                CallEnd.AGENT_CLOSED, "Twilio ended the stream: the other side hung up, or a time limit was reached"
            )
        else:
            self.end(CallEnd.DISCONNECTED, "the stream broke off without a `stop` from Twilio")

    def begin(self) -> None:
        """Start to send audio; both streams must be open."""
        assert self._stream is not None
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
        self._timer = self._scheduler.call_at(self._started_ns, self._on_frame)

    def end(self, how: CallEnd, detail: str = "") -> None:
        """End the call; nothing is recorded afterwards."""
        if self.over.done():
            return
        self._ended_ns = self._clock.now_ns()
        if self._timer is not None:
            self._timer.cancel()
        self.over.set_result((how, detail))

    def hang_up(self) -> None:
        """Close the stream: Twilio then reaches the end of the TwiML and ends the call."""
        if self._stream is not None:
            self._stream.close()

    def trace(self) -> CallerTrace:
        """Return what was recorded; call it after the end."""
        end, detail = self.over.result()
        frames = len(self._sent_pcm)
        conversation = self._conversation
        utterances = conversation.spoken if conversation is not None else []
        spoken = [utterance for utterance in utterances if utterance.start_sample < frames * FRAME_SAMPLES]
        sent_ns = np.array(self._sent_ns[:frames], np.int64)
        record = CallRecord(
            index=self._planned.index,
            call_sid=f"live-{self._planned.index}",
            stream_sid="",
            started_ns=self._started_ns,
            sent_ns=np.pad(sent_ns, (0, frames - len(sent_ns)), constant_values=self._ended_ns),
            caller_pcm=np.concatenate([np.empty(0, np.int16), *self._sent_pcm]),
            spoken=tuple(spoken),
            received=self._inbound.received(),
            marks=(),
            clears_ns=(),
            stalls=self._scheduler.stalls(self._started_ns, self._ended_ns),
            ended_ns=self._ended_ns,
            end=end,
            warnings=(
                *(self._stream.errors if self._stream is not None else ()),
                *(conversation.notes if conversation is not None else ()),
            ),
            detail=detail,
            warm_up=self._planned.warm_up,
            lead_ns=0,
        )
        return CallerTrace(record, self._inbound.audio(), self._late_ns(record), self._inbound.jitter_ms())

    def _late_ns(self, record: CallRecord) -> tuple[int, ...]:
        late_ns = []
        frames = self._buffered.received_since(0)
        for spoken in record.spoken:
            frame = max(0, spoken.end_sample - 1) // FRAME_SAMPLES
            due_ns = record.frame_due_ns(frame)
            late_ns.append(max(0, frames[frame].play_ns - due_ns) if frame < len(frames) else 0)
        return tuple(late_ns)

    def _on_frame(self, due_ns: int) -> None:
        assert self._conversation is not None
        assert self._stream is not None
        if self.over.done():
            return
        frame = len(self._sent_pcm)
        if not self._conversation.decide(frame):
            self.end(CallEnd.COMPLETED)
            return
        pcm = self._conversation.mix_voice(self._noise.read_frame(frame), frame)
        self._sent_pcm.append(pcm)
        outgoing = pcm[self._skipped_samples(frame, due_ns) :]

        def record_sent(at_ns: int) -> None:
            self._sent_ns.append(at_ns)
            self._buffered.receive(outgoing, at_ns)

        if len(outgoing):
            self._stream.send(OutboundMedia(self._stream_sid, mulaw.encode(outgoing)).to_json(), record_sent)
        else:
            record_sent(due_ns)
        self._timer = self._scheduler.call_at(due_ns + FRAME_NS, self._on_frame)

    def _skipped_samples(self, frame: int, due_ns: int) -> int:
        """Return how many samples of a frame without speech to skip, so that no delay stays in Twilio's buffer."""
        assert self._conversation is not None
        first, end = frame * FRAME_SAMPLES, (frame + 1) * FRAME_SAMPLES
        speech = any(last.start_sample < end and last.end_sample > first for last in self._conversation.spoken[-1:])
        self._quiet_frames = 0 if speech else self._quiet_frames + 1
        if speech:
            return 0
        if self._quiet_frames in SKIPPED_QUIET_FRAMES:
            return FRAME_SAMPLES
        return min(FRAME_SAMPLES // 2, max(0, self._buffered.end_ns - due_ns) // NS_PER_SAMPLE)
