"""What has come from the caller: the audio, and when each piece of it was read from the socket."""

from __future__ import annotations

import bisect

import numpy as np

from turngap_agent.stt import AudioF32
from turngap_agent.telephony import SAMPLE_RATE, mulaw
from turngap_agent.telephony.messages import InboundMedia


class CallerAudio:
    """One call's inbound audio by sample number, counted from the stream's first; old audio is forgotten."""

    def __init__(self, kept_samples: int) -> None:
        """Keeps at least the last `kept_samples`."""
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
        """The μ-law codes of samples `start` up to `end`, as far as they are kept."""
        return bytes(self._codes[max(0, start - self._start) : max(0, end - self._start)])


class Continuity:
    """Finds what is missing in front of a media message, so that sample positions stay those of the call's time."""

    MAX_FILL_SAMPLES = 10 * SAMPLE_RATE
    """A jump of more than this is a wrong timestamp rather than a loss."""
    _LEAST_MS = 15
    """Timestamps are whole milliseconds, and may waver by some."""

    def __init__(self) -> None:
        self._last: tuple[int, int, int] | None = None
        self._due_ms = 0.0

    def missing_samples(self, media: InboundMedia) -> int | None:
        """How many samples of silence belong before it; None when it is the last message once more."""
        this = (media.sequence_number, media.chunk, media.timestamp_ms)
        if this == self._last:
            return None
        first, self._last = self._last is None, this
        jump_ms = media.timestamp_ms - self._due_ms
        jumped = not first and abs(jump_ms) >= self._LEAST_MS
        self._due_ms = media.timestamp_ms if first or jumped else self._due_ms
        self._due_ms += len(media.payload) * 1000 / SAMPLE_RATE
        missing = round(jump_ms * SAMPLE_RATE / 1000)
        return missing if jumped and 0 < missing <= self.MAX_FILL_SAMPLES else 0


class Arrivals:
    """When each inbound media message was read, and which samples it brought; of the last 8 seconds or more."""

    KEPT_SAMPLES = 64_000

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int]] = []

    def add(self, chunk: int, end_sample: int, arrived_ns: int) -> None:
        """Message `chunk` brought the samples up to `end_sample`."""
        self._rows.append((chunk, end_sample, arrived_ns))
        if len(self._rows) > 256 and self._rows[128][1] < end_sample - self.KEPT_SAMPLES:
            del self._rows[:128]

    def of_sample(self, end_sample: int) -> int | None:
        """When the message that brought the sample before `end_sample` was read; None when there is no such message."""
        index = bisect.bisect_left(self._rows, end_sample, key=lambda row: row[1])
        return self._rows[index][2] if index < len(self._rows) else None

    def unbroken(self) -> tuple[int, tuple[int, ...]]:
        """The last 8 s of messages whose chunk numbers have no hole: the first one's number, and all their times."""
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
    """μ-law as PCM, full scale ±1."""
    return mulaw.decode(codes).astype(np.float32) / np.float32(32_768)
