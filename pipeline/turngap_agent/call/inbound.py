"""The caller's audio as it arrives, and when each piece of it was read from the socket."""

from __future__ import annotations

import bisect

import numpy as np

from turngap_agent.call.line_clock import LineClock
from turngap_agent.stt import AudioF32
from turngap_agent.telephony import SAMPLE_RATE, mulaw
from turngap_agent.telephony.messages import InboundMedia


class InboundAudio:
    """One call's inbound stream: its audio without gaps, and the arrival times of its messages."""

    def __init__(self, kept_samples: int) -> None:
        """Keep at least the last `kept_samples` of audio."""
        self.audio = CallerAudio(kept_samples)
        self.arrivals = Arrivals()
        self._continuity = Continuity()
        self._clock = LineClock()

    def add(self, media: InboundMedia, arrived_ns: int) -> bool:
        """Take a message that was read at `arrived_ns`; return False if it repeats the last one."""
        missing = self._continuity.missing_samples(media)
        if missing is None:
            return False
        silence, payload = self._clock.place(media.payload, missing)
        self.audio.add(mulaw.SILENCE * silence + payload)
        self.arrivals.add(media.chunk, self.audio.end, arrived_ns)
        self._clock.note_arrival(self.audio.end, arrived_ns, jumped=missing > 0)
        return True

    def fill(self, now_ns: int) -> bool:
        """Add the silence that has passed by now on a line that sends no frames; return whether there was any."""
        due = self._clock.silence_due(self.audio.end, now_ns)
        self.audio.add(mulaw.SILENCE * due)
        return due > 0


class CallerAudio:
    """Audio by sample number, counted from the stream's first sample; old audio is dropped."""

    def __init__(self, kept_samples: int) -> None:
        """Keep at least the last `kept_samples`."""
        self._kept = kept_samples
        self._codes = bytearray()
        self._start = 0

    @property
    def end(self) -> int:
        """The sample after the last one."""
        return self._start + len(self._codes)

    def add(self, payload: bytes) -> None:
        """Take the next μ-law codes."""
        self._codes += payload
        if len(self._codes) > 2 * self._kept:
            self._start = self.end - self._kept
            del self._codes[: -self._kept]

    def codes(self, start: int, end: int) -> bytes:
        """Return the μ-law codes of samples `start` up to `end`, as far as they are kept."""
        return bytes(self._codes[max(0, start - self._start) : max(0, end - self._start)])


class Continuity:
    """Finds audio that is missing before a media message, so that sample positions match the call's time."""

    MAX_FILL_SAMPLES = 10 * SAMPLE_RATE
    """A jump of more than this is a wrong timestamp rather than a loss."""
    _MIN_JUMP_MS = 15
    """Timestamps are whole milliseconds and may be off by some."""

    def __init__(self) -> None:
        self._last: tuple[int, int, int] | None = None
        self._due_ms = 0.0

    def missing_samples(self, media: InboundMedia) -> int | None:
        """Return how many samples of silence belong before the message; None if it repeats the last one."""
        identity = (media.sequence_number, media.chunk, media.timestamp_ms)
        if identity == self._last:
            return None
        first, self._last = self._last is None, identity
        jump_ms = media.timestamp_ms - self._due_ms
        jumped = not first and abs(jump_ms) >= self._MIN_JUMP_MS
        self._due_ms = media.timestamp_ms if first or jumped else self._due_ms
        self._due_ms += len(media.payload) * 1000 / SAMPLE_RATE
        missing = round(jump_ms * SAMPLE_RATE / 1000)
        return missing if jumped and 0 < missing <= self.MAX_FILL_SAMPLES else 0


class Arrivals:
    """When each inbound media message was read, and which samples it carried, over the last 8 seconds or more."""

    KEPT_SAMPLES = 64_000

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int]] = []

    def add(self, chunk: int, end_sample: int, arrived_ns: int) -> None:
        """Note that message `chunk` carried the samples up to `end_sample`."""
        self._rows.append((chunk, end_sample, arrived_ns))
        if len(self._rows) > 256 and self._rows[128][1] < end_sample - self.KEPT_SAMPLES:
            del self._rows[:128]

    def time_of_sample(self, end_sample: int) -> int | None:
        """Return when the message with the sample before `end_sample` was read; None if there is no such message."""
        index = bisect.bisect_left(self._rows, end_sample, key=lambda row: row[1])
        return self._rows[index][2] if index < len(self._rows) else None

    def recent_times(self) -> tuple[int, tuple[int, ...]]:
        """Return the first chunk number and the times of the last 8 s of messages without a missing chunk."""
        times: list[int] = []
        first = 0
        oldest = self._rows[-1][1] - self.KEPT_SAMPLES if self._rows else 0
        for chunk, end_sample, arrived_ns in reversed(self._rows):
            if end_sample <= oldest or (times and chunk != first - 1):
                break
            first = chunk
            times.append(arrived_ns)
        return first, tuple(reversed(times))


def to_float(codes: bytes) -> AudioF32:
    """Return μ-law codes as PCM, shape (n,), full scale ±1."""
    return mulaw.decode(codes).astype(np.float32) / np.float32(32_768)
