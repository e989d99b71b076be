"""Time on a line that sends no frames: how much silence has passed, and what came too late to be counted twice.

Some carriers send nothing while their caller is silent. Time passes all the same: once a line is later than it has ever
been without losing its place, the missing time counts as silence. Frames that come after that, without a jump of their
timestamps, were late; their silence has been counted already.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from turngap_agent.telephony import SAMPLE_RATE, mulaw

LEAST_PATIENCE_NS, MOST_PATIENCE_NS = 100_000_000, 400_000_000
"""A line without frames is silent after 1.5 times its longest usual gap, within these bounds. The upper one is shorter
than the silence that ends a turn."""
JITTER_NS = 60_000_000
"""The first frame may have been late by this much: the stream's clock follows earlier ones so far. A stream that is
ahead by more is sent faster than real time."""
QUIET = 184.0
"""RMS of a late frame that is silence: -45 dBFS."""
_NS_PER_SAMPLE = 1_000_000_000 // SAMPLE_RATE


class LineClock:
    """Compares the position of one stream with the time that has passed. Times are ns, positions samples."""

    def __init__(self) -> None:
        self._start_ns: int | None = None
        self._earliest_ns = 0
        self._last_ns = 0
        self._gaps_ns: deque[int] = deque(maxlen=64)
        self._filled = 0
        self._late = 0

    @property
    def patience_ns(self) -> int:
        """How long the line may send nothing before that counts as silence."""
        usual_ns = max(self._gaps_ns, default=0)
        return min(MOST_PATIENCE_NS, max(LEAST_PATIENCE_NS, usual_ns * 3 // 2))

    def silence_due(self, end: int, now_ns: int) -> int:
        """Return how many samples of silence have passed by now without a frame; `end` is the stream's position."""
        if self._start_ns is None or now_ns - self._last_ns < self.patience_ns:
            return 0
        behind = (now_ns - self._start_ns) // _NS_PER_SAMPLE - end
        since_last = (now_ns - self._last_ns) // _NS_PER_SAMPLE - self._filled
        due = max(0, min(behind, since_last))
        self._filled += due
        return due

    def place(self, payload: bytes, missing: int) -> tuple[int, bytes]:
        """Return the silence before a message, less what was counted by the clock, and its audio that is to be heard.

        Args:
            payload: The message's μ-law codes.
            missing: Samples that are missing before it by its timestamp.
        """
        if self._filled:
            self._late, missing = max(0, self._filled - missing), max(0, missing - self._filled)
        if self._late and _is_quiet(payload):
            dropped = min(self._late, len(payload))
            self._late -= dropped
            return missing, payload[dropped:]
        if self._late and self._start_ns is not None:
            shifted = min(self._late, len(payload))
            self._late -= shifted
            self._start_ns -= shifted * _NS_PER_SAMPLE
            self._earliest_ns -= shifted * _NS_PER_SAMPLE
        return missing, payload

    def note_arrival(self, end: int, now_ns: int, *, jumped: bool) -> None:
        """Take the time of a message that ended at sample `end`; `jumped`: its timestamp left time out."""
        start_ns = now_ns - end * _NS_PER_SAMPLE
        if self._start_ns is None:
            self._start_ns, self._earliest_ns = start_ns, start_ns - JITTER_NS
        self._start_ns = max(min(self._start_ns, start_ns), self._earliest_ns)
        if self._last_ns and not jumped:
            self._gaps_ns.append(now_ns - self._last_ns)
        self._last_ns, self._filled = now_ns, 0


def _is_quiet(payload: bytes) -> bool:
    pcm = mulaw.decode(payload).astype(np.float64)
    return not len(pcm) or float(np.sqrt(np.mean(pcm * pcm))) < QUIET
