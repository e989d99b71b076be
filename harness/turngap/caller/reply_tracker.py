"""What the caller hears as it goes on: when the agent is audible, when its answer begins, whether it has yielded.

Kept up message by message from the playout, in microseconds a frame.
"""

from __future__ import annotations

from turngap.caller.onset import AUDIBLE_DBFS, FRAME_SAMPLES, find_onset, levels_dbfs
from turngap.caller.playout import Playout, segments
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE

YIELDED_NS = 200 * NS_PER_MS
"""An agent that was spoken over has yielded once it was silent for so long, or has sent a `clear`."""


class Ear:
    """What is audible in the playout of one call."""

    def __init__(self, playout: Playout) -> None:
        self.heard_until_ns = 0
        """End of the last audible frame of all that was received, the buffered future included."""
        self._playout = playout
        self._seen = 0
        self._clears = 0
        self._from_ns = 0
        self._spoken_over_ns: int | None = None
        self._first = 0
        self._changed = False

    def listen(self) -> None:
        """Take note of what came since the last time."""
        if len(self._playout.clears_ns) > self._clears:
            self._clears = len(self._playout.clears_ns)
            self.heard_until_ns = min(self.heard_until_ns, self._playout.clears_ns[-1])
            self._changed = True
        fresh = self._playout.received_since(self._seen)
        for message in fresh:
            audible = (levels_dbfs(message.pcm[: message.played_samples]) > AUDIBLE_DBFS).nonzero()[0]
            if len(audible):
                end_ns = message.play_ns + (int(audible[-1]) + 1) * FRAME_SAMPLES * NS_PER_SAMPLE
                self.heard_until_ns = max(self.heard_until_ns, end_ns)
        self._seen += len(fresh)
        self._changed = self._changed or bool(fresh)

    def forget_before(self, from_ns: int, *, spoken_over_ns: int | None = None) -> None:
        """Onsets count from that time on; of an agent that is spoken over from `spoken_over_ns` once it has yielded."""
        self._from_ns, self._changed = from_ns, True
        self._spoken_over_ns = spoken_over_ns
        self._first = self._seen
        while self._first and self._ends_ns(self._first - 1) > from_ns:
            self._first -= 1

    def onset_ns(self, now_ns: int) -> int | None:
        """The first onset that has been played by now."""
        if self._spoken_over_ns is not None:
            yielded_ns = self._yielded_ns(self._spoken_over_ns, now_ns)
            if yielded_ns is None:
                return None
            self.forget_before(max(self._from_ns, yielded_ns))
        if not self._changed:
            return None
        found = find_onset(segments(self._playout.received_since(self._first), self._from_ns), self._from_ns)
        if found is not None and found <= now_ns:
            return found
        self._changed = found is not None
        return None

    def _yielded_ns(self, spoken_over_ns: int, now_ns: int) -> int | None:
        clears_ns = self._playout.clears_ns
        if clears_ns and clears_ns[-1] >= spoken_over_ns:
            return next(at_ns for at_ns in clears_ns if at_ns >= spoken_over_ns)
        return self.heard_until_ns if self.heard_until_ns + YIELDED_NS <= now_ns else None

    def _ends_ns(self, index: int) -> int:
        message = self._playout.received_since(index)[0]
        return message.play_ns + message.played_samples * NS_PER_SAMPLE
