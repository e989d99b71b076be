"""The audio of one leg on the clock: what Twilio sends to this host, and what this host gives Twilio to play.

**Sample times.** Twilio sends a frame when it is complete, so its last sample was spoken no later than the frame
arrived. The fastest frame of the whole call fixes the time of the stream's first sample; all others follow by their
`timestamp`, 8 samples a millisecond. By how much a frame arrived later than that is reported as jitter.
Audio sent to Twilio is played from a buffer: at once, or after what is already buffered (`Playout`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from turngap_agent.telephony import mulaw
from turngap_agent.telephony.messages import InboundMedia

from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import Int64, Pcm16, Received

SAMPLES_PER_MS = 8
MAX_GAP_SAMPLES = 60_000 * SAMPLES_PER_MS
"""A `timestamp` that jumps further is taken to be wrong."""


@dataclass(frozen=True, slots=True)
class TimedAudio:
    """Audio with the time of each sample."""

    start_ns: int
    """The first sample's time."""
    pcm: Pcm16
    """Shape (n,); zeros where there was no audio."""

    @property
    def end_ns(self) -> int:
        """The time after the last sample."""
        return self.sample_ns(len(self.pcm))

    def sample_ns(self, sample: int) -> int:
        """Return the time of a sample."""
        return self.start_ns + sample * NS_PER_SAMPLE

    def index(self, at_ns: int) -> int:
        """Return the sample at a time, clamped to 0 … n."""
        return min(max(0, round((at_ns - self.start_ns) / NS_PER_SAMPLE)), len(self.pcm))

    def between(self, from_ns: int, to_ns: int) -> TimedAudio:
        """Return the part from `from_ns` to `to_ns`."""
        first, beyond = self.index(from_ns), self.index(to_ns)
        return TimedAudio(self.sample_ns(first), self.pcm[first : max(first, beyond)])


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it arrived."""

    arrival_ns: int
    offset: int
    """The position of its first sample in the stream."""
    pcm: Pcm16


class InboundAudio:
    """The audio that Twilio sends over one stream."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._first_ms = 0
        self._earliest_ns: int | None = None

    def add(self, message: InboundMedia, arrival_ns: int) -> Frame:
        """Add a frame; return it with its position in the stream."""
        pcm = mulaw.decode(message.payload)
        if not self._frames:
            self._first_ms = message.timestamp_ms
        last = self._frames[-1] if self._frames else None
        end = last.offset + len(last.pcm) if last is not None else 0
        offset = (message.timestamp_ms - self._first_ms) * SAMPLES_PER_MS
        if last is not None and offset == last.offset and np.array_equal(pcm, last.pcm):
            return last  # a duplicate: later frames keep their times
        if not end <= offset <= end + MAX_GAP_SAMPLES:
            offset = end
        frame = Frame(arrival_ns, offset, pcm)
        self._frames.append(frame)
        start_ns = arrival_ns - (offset + len(pcm)) * NS_PER_SAMPLE
        self._earliest_ns = start_ns if self._earliest_ns is None else min(self._earliest_ns, start_ns)
        return frame

    @property
    def start_ns(self) -> int | None:
        """The time of the stream's first sample, by the fastest frame so far; None before the first frame."""
        return self._earliest_ns

    def audio(self) -> TimedAudio:
        """Return all audio; lost frames are silent."""
        if not self._frames:
            return TimedAudio(0, np.empty(0, np.int16))
        assert self._earliest_ns is not None
        last = self._frames[-1]
        pcm = np.zeros(last.offset + len(last.pcm), np.int16)
        for frame in self._frames:
            pcm[frame.offset : frame.offset + len(frame.pcm)] = frame.pcm
        return TimedAudio(self._earliest_ns, pcm)

    def received(self) -> tuple[Received, ...]:
        """Return the frames as messages that play at their samples' own times, for scoring."""
        start_ns = self._earliest_ns or 0
        return tuple(
            Received(frame.arrival_ns, start_ns + frame.offset * NS_PER_SAMPLE, frame.pcm, len(frame.pcm))
            for frame in self._frames
        )

    def jitter_ms(self) -> float | None:
        """Return how much later than the fastest frame a frame arrived (95th percentile, ms); None without frames."""
        if not self._frames:
            return None
        return float(np.percentile(self._late_ns() / NS_PER_MS, 95))

    def _late_ns(self) -> Int64:
        start_ns = self._earliest_ns or 0
        due = [start_ns + (frame.offset + len(frame.pcm)) * NS_PER_SAMPLE for frame in self._frames]
        return np.array([frame.arrival_ns for frame in self._frames], np.int64) - np.array(due, np.int64)


def render_playout(received: Sequence[Received], until_ns: int | None = None) -> TimedAudio:
    """Return the audio of messages as the playout buffer played it."""
    played = [message for message in received if message.played_samples]
    if not played:
        return TimedAudio(0, np.empty(0, np.int16))
    start_ns = played[0].play_ns
    end_ns = max(message.play_ns + message.played_samples * NS_PER_SAMPLE for message in played)
    pcm = np.zeros(round(((until_ns or end_ns) - start_ns) / NS_PER_SAMPLE) + 1, np.int16)
    for message in played:
        at = round((message.play_ns - start_ns) / NS_PER_SAMPLE)
        piece = message.pcm[: message.played_samples][: max(0, len(pcm) - at)]
        pcm[at : at + len(piece)] = piece
    return TimedAudio(start_ns, pcm)
