"""The record of a simulated call: the caller's frames, the agent's audio as received and as played.

Times are nanoseconds on the host's monotonic clock; audio is int16 PCM at 8 kHz. Nothing here judges: `milestones`,
`critical_path` and `outcomes` do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from turngap.scenario import Expectation

Pcm16 = npt.NDArray[np.int16]
Int64 = npt.NDArray[np.int64]


class LabelSource(StrEnum):
    """What an end of speech was found by."""

    THRESHOLD = "threshold"
    """Levels: for clean clips."""
    FLOOR = "floor"
    """Levels relative to the recording's noise floor."""
    HAND = "hand"
    """A person: `speech_ms`, a label file, or a corpus' table."""
    ALIGNED = "aligned"
    """A program that aligned the known words, or a detector: a corpus' table says so."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance ready to be spoken, with its true end of speech."""

    clip_id: str
    pcm: Pcm16
    """Trimmed so that the last sample of speech is the last sample: shape (n,)."""
    speech_start_sample: int
    transcript: str | None
    label_low_ms: float
    """How far the end of speech moves when both label thresholds change by -5 dB, or may lie later ..."""
    label_high_ms: float
    """... and by +5 dB, or may lie earlier; positive is later."""
    source: str
    """Where the audio comes from, with its licence."""
    synthetic: bool
    pauses: tuple[tuple[int, int], ...] = ()
    """Pauses of 200 ms and more inside the utterance: (start_sample, end_sample), the end not included."""
    bed: Pcm16 | None = None
    """The background noise, a loop: `pcm` already contains its first samples, and the line continues it; shape (m,)."""
    keys: tuple[tuple[int, str], ...] = ()
    """Keys pressed, as messages: (sample at which each is sent, digit)."""
    label_source: LabelSource = LabelSource.THRESHOLD
    """What the end of speech was found by."""


@dataclass(frozen=True, slots=True)
class Received:
    """One media message from the agent: when it arrived, and when its first sample is played."""

    recv_ns: int
    play_ns: int
    """`recv_ns`, or the end of the buffered audio before it if that is later."""
    pcm: Pcm16
    played_samples: int
    """How many of its samples were played: fewer than it has after a `clear` or a hang-up."""


@dataclass(frozen=True, slots=True)
class MarkSeen:
    """A mark the agent sent, and when its echo left."""

    name: str
    recv_ns: int
    echoed_ns: int | None


@dataclass(frozen=True, slots=True)
class Spoken:
    """One utterance as it was placed in the call."""

    utterance_id: str
    clip: Clip
    start_sample: int
    """Its first sample, counted from the stream's first."""
    end_sample: int
    """The sample after its last of speech: t0 is the end of the last sample of speech."""
    reply_deadline_ns: int
    """When the caller stops waiting for an answer."""
    expectation: Expectation = Expectation.RESPOND
    over_agent: bool = False
    """Whether the agent had audible sound to be played when the clip's speech started."""


class CallEnd(StrEnum):
    """How a call ended."""

    COMPLETED = "completed"
    """The caller hung up as planned."""
    AGENT_CLOSED = "agent_closed"
    """The agent closed the socket first."""
    REFUSED = "refused"
    """The socket never opened, or the server is no Media Streams agent."""
    INTERRUPTED = "interrupted"
    """The run was stopped (Ctrl-C) during the call."""
    DISCONNECTED = "disconnected"
    """The simulated network broke the connection."""
    FLOODED = "flooded"
    """The caller hung up because the agent sent more than can be taken without harm to other calls."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One complete call."""

    index: int
    call_sid: str
    stream_sid: str
    started_ns: int
    """The stream's first sample: frame k (from 0) leaves at started_ns + (k + 1) * 20 ms."""
    sent_ns: Int64
    """When each frame was handed to the socket, minus the delay of a simulated network, shape (frames,)."""
    caller_pcm: Pcm16
    """All that was sent, shape (frames * 160,); lost frames are zeros."""
    spoken: tuple[Spoken, ...]
    received: tuple[Received, ...]
    marks: tuple[MarkSeen, ...]
    clears_ns: tuple[int, ...]
    stalls: Int64
    """Our own lateness in reading, shape (m, 2): rows (at_ns, late_ns), the event loop came back at at_ns, having been
    away for late_ns, over 0.5 ms."""
    ended_ns: int
    end: CallEnd
    warnings: tuple[str, ...] = ()
    """Warnings that Twilio would give (31950, 31951, ...), one line each."""
    detail: str = ""
    """Why it ended, if it did not end as planned."""
    warm_up: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    lost_frames: tuple[int, ...] = ()
    """Frames that were composed and never sent; their `sent_ns` is when they would have been sent."""
    network: str = ""
    """The name of the simulated network; "" for none."""
    chunks: Int64 | None = None
    """Each frame's chunk number, 0 for one that never left, shape (frames,); None: all but `lost_frames` left, once."""
    dialect: str = "twilio"
    """The wire format that was spoken."""
    refused_bytes: tuple[int, ...] = ()
    """The sizes of messages that were not read because they were too long."""
    discarded_samples: tuple[int, ...] = ()
    """The audio of messages for which the platform's buffer had no room."""
    buffer: str = ""
    """How much audio the platform buffers, in words."""
    audible_dbfs: float = -45.0
    """The agent's sound is speech over this level. Scoring raises it where the agent has a background."""
    background_dbfs: float | None = None
    """The level of that background; None if the agent has none that is audible, and before scoring."""
    lead_ns: int = 20_000_000
    """How long after its first sample a frame leaves: a phone's when it is complete; 0 for what goes into a buffer that
    plays it at once."""
    planned_ns: int | None = None
    """When it was planned to begin, whatever calls were under way; None where it was placed when a line was free."""
    placed_ns: int | None = None
    """When the caller began to open its stream."""
    opened_ns: int | None = None
    """When its stream was open, just before `started_ns`; None if it never was."""

    @property
    def start_delay_ms(self) -> float | None:
        """How much later than planned its stream was open; None if it was not planned for a moment, or never open."""
        if self.planned_ns is None or self.opened_ns is None:
            return None
        return max(0, self.opened_ns - self.planned_ns) / 1e6

    def sample_ns(self, sample: int) -> int:
        """Return when that sample of the caller's stream is spoken: a sample has its own time, not its frame's."""
        return self.started_ns + sample * 125_000

    def chunk_of(self, frame: int) -> int | None:
        """Return the number of the message with that frame (lost frames are not counted); None if there was none."""
        if self.chunks is None:
            return frame + 1 - sum(lost <= frame for lost in self.lost_frames)
        return (int(self.chunks[frame]) or None) if frame < len(self.chunks) else None

    def frame_due_ns(self, frame: int) -> int:
        """Return the deadline of a frame: normally when it is complete."""
        return self.started_ns + frame * 20_000_000 + self.lead_ns
