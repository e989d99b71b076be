"""The audio of one leg on one time line: what Twilio sent us, and what we gave Twilio to play.

**Line time.** A frame that Twilio sends was complete when it left, so its last sample was spoken at the latest when
the frame arrived. The frame that came fastest in the whole call settles where the stream's first sample lies; the
others follow by their `timestamp`, 8 samples a millisecond. What a frame came later than that is jitter, and is
reported as such. Audio that we send is played from a buffer: at once, or behind what is buffered (`Playout`).
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
"""A `timestamp` that jumps further is not believed."""


@dataclass(frozen=True, slots=True)
class TimedAudio:
    """Audio and when each of its samples was on the line."""

    start_ns: int
    """The first sample's time."""
    pcm: Pcm16
    """Shape (n,); zeros where nothing was."""

    @property
    def end_ns(self) -> int:
        """The time after its last sample."""
        return self.sample_ns(len(self.pcm))

    def sample_ns(self, sample: int) -> int:
        """When that sample was on the line."""
        return self.start_ns + sample * NS_PER_SAMPLE

    def index(self, at_ns: int) -> int:
        """The sample on the line at that time, kept within the line's ends."""
        return min(max(0, round((at_ns - self.start_ns) / NS_PER_SAMPLE)), len(self.pcm))

    def between(self, from_ns: int, to_ns: int) -> TimedAudio:
        """A piece of it."""
        first, beyond = self.index(from_ns), self.index(to_ns)
        return TimedAudio(self.sample_ns(first), self.pcm[first : max(first, beyond)])


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came."""

    arrival_ns: int
    offset: int
    """Its first sample in the stream."""
    pcm: Pcm16


class InboundAudio:
    """What Twilio sends over one stream."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._first_ms = 0
        self._earliest_ns: int | None = None

    def add(self, message: InboundMedia, arrival_ns: int) -> Frame:
        """Take a frame; gives it with its place in the stream."""
        pcm = mulaw.decode(message.payload)
        if not self._frames:
            self._first_ms = message.timestamp_ms
        last = self._frames[-1] if self._frames else None
        end = last.offset + len(last.pcm) if last is not None else 0
        offset = (message.timestamp_ms - self._first_ms) * SAMPLES_PER_MS
        if last is not None and offset == last.offset and np.array_equal(pcm, last.pcm):
            return last  # it came twice: everything after it keeps its time
        if not end <= offset <= end + MAX_GAP_SAMPLES:
            offset = end
        frame = Frame(arrival_ns, offset, pcm)
        self._frames.append(frame)
        start_ns = arrival_ns - (offset + len(pcm)) * NS_PER_SAMPLE
        self._earliest_ns = start_ns if self._earliest_ns is None else min(self._earliest_ns, start_ns)
        return frame

    @property
    def start_ns(self) -> int | None:
        """When the stream's first sample was on the line, by the fastest frame so far; None before the first."""
        return self._earliest_ns

    def line(self) -> TimedAudio:
        """All of it; what was lost is silent."""
        if not self._frames:
            return TimedAudio(0, np.empty(0, np.int16))
        assert self._earliest_ns is not None
        last = self._frames[-1]
        pcm = np.zeros(last.offset + len(last.pcm), np.int16)
        for frame in self._frames:
            pcm[frame.offset : frame.offset + len(frame.pcm)] = frame.pcm
        return TimedAudio(self._earliest_ns, pcm)

    def received(self) -> tuple[Received, ...]:
        """The frames as messages that were heard at their own time, for scoring."""
        start_ns = self._earliest_ns or 0
        return tuple(
            Received(one.arrival_ns, start_ns + one.offset * NS_PER_SAMPLE, one.pcm, len(one.pcm))
            for one in self._frames
        )

    def jitter_ms(self) -> float | None:
        """How much later than the fastest a frame came, 95th percentile; None of none."""
        if not self._frames:
            return None
        return float(np.percentile(self._late_ns() / NS_PER_MS, 95))

    def _late_ns(self) -> Int64:
        start_ns = self._earliest_ns or 0
        due = [start_ns + (one.offset + len(one.pcm)) * NS_PER_SAMPLE for one in self._frames]
        return np.array([one.arrival_ns for one in self._frames], np.int64) - np.array(due, np.int64)


def render_playout(received: Sequence[Received], until_ns: int | None = None) -> TimedAudio:
    """What was given to a buffer to be played, as it was played."""
    heard = [one for one in received if one.played_samples]
    if not heard:
        return TimedAudio(0, np.empty(0, np.int16))
    start_ns = heard[0].play_ns
    end_ns = max(one.play_ns + one.played_samples * NS_PER_SAMPLE for one in heard)
    pcm = np.zeros(round(((until_ns or end_ns) - start_ns) / NS_PER_SAMPLE) + 1, np.int16)
    for one in heard:
        at = round((one.play_ns - start_ns) / NS_PER_SAMPLE)
        piece = one.pcm[: one.played_samples][: max(0, len(pcm) - at)]
        pcm[at : at + len(piece)] = piece
    return TimedAudio(start_ns, pcm)
