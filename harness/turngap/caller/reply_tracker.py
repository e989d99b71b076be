"""What the caller hears of the agent during a call: when it is audible, when its answer starts, whether it has yielded.

Updated message by message from the playout, in microseconds a frame.
"""

from __future__ import annotations

import bisect

from turngap.caller.onset import AUDIBLE_DBFS, LEVEL_FRAME_SAMPLES, find_onset, levels_dbfs
from turngap.caller.playout import Playout, played_segments
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE

_LEVEL_FRAME_NS = LEVEL_FRAME_SAMPLES * NS_PER_SAMPLE
YIELD_SILENCE_NS = 200 * NS_PER_MS
"""An agent that is spoken over has yielded once it was silent for this long, or has sent a `clear`."""
SCAN_AHEAD_NS, SCAN_BACK_NS = 100 * NS_PER_MS, 120 * NS_PER_MS
"""An onset is looked for in the audio played around now only: before `SCAN_BACK_NS` nothing changes any more, as an
onset needs sound in the 70 ms after it. So a look takes the same time however much the agent has sent."""


class ReplyTracker:
    """Tracks the audible parts of one call's playout."""

    def __init__(self, playout: Playout) -> None:
        self.audible_until_ns = 0
        """The end of the last audible level frame received so far, audio that is still buffered included."""
        self._playout = playout
        self._audible: list[tuple[int, int]] = []
        self._examined = 0
        self._clears = 0
        self._from_ns = 0
        self._spoken_over_ns: int | None = None
        self._first = 0
        """The first message with audio that may still have an onset."""

    def update(self) -> None:
        """Examine the messages that arrived since the last update."""
        clear_ns = self._playout.last_clear_ns
        if clear_ns is not None and self._playout.clear_count > self._clears:
            self._clears = self._playout.clear_count
            self.audible_until_ns = min(self.audible_until_ns, clear_ns)
            del self._audible[bisect.bisect_left(self._audible, (clear_ns, 0)) :]
        messages = self._playout.received_since(self._examined)
        for message in messages:
            audible = (levels_dbfs(message.pcm[: message.played_samples]) > AUDIBLE_DBFS).nonzero()[0]
            self._audible += [
                (message.play_ns + int(place) * _LEVEL_FRAME_NS, message.play_ns + int(place + 1) * _LEVEL_FRAME_NS)
                for place in audible
            ]
            if len(audible):
                end_ns = message.play_ns + (int(audible[-1]) + 1) * LEVEL_FRAME_SAMPLES * NS_PER_SAMPLE
                self.audible_until_ns = max(self.audible_until_ns, end_ns)
        self._examined += len(messages)

    def audible_ns(self, from_ns: int, now_ns: int) -> int:
        """Return for how long the agent was audible between `from_ns` and now."""
        heard_until_ns = min(now_ns, self.audible_until_ns)
        first, beyond = (bisect.bisect_left(self._audible, (at_ns, 0)) for at_ns in (from_ns, heard_until_ns))
        return sum(min(end_ns, heard_until_ns) - start_ns for start_ns, end_ns in self._audible[first:beyond])

    def expect_onset_from(self, from_ns: int, *, spoken_over_ns: int | None = None) -> None:
        """Look for onsets from `from_ns` on; of an agent spoken over at `spoken_over_ns`, only once it has yielded."""
        self._from_ns, self._spoken_over_ns = from_ns, spoken_over_ns
        self._first = bisect.bisect_right(range(self._examined), from_ns, key=self._playout.end_of_message_ns)

    def find_onset_ns(self, now_ns: int) -> int | None:
        """Return the first onset that has been played by now, or None."""
        if self._spoken_over_ns is not None:
            yielded_ns = self._find_yield_ns(self._spoken_over_ns, now_ns)
            if yielded_ns is None:
                return None
            self.expect_onset_from(max(self._from_ns, yielded_ns))
        beyond = bisect.bisect_left(
            range(self._examined), now_ns + SCAN_AHEAD_NS, lo=self._first, key=self._playout.play_ns
        )
        if beyond <= self._first:
            return None
        messages = self._playout.received_since(self._first, beyond)
        onset_ns = find_onset(played_segments(messages, self._from_ns), self._from_ns)
        if onset_ns is not None and onset_ns <= now_ns:
            return onset_ns
        self._from_ns = max(self._from_ns, now_ns - SCAN_BACK_NS)
        while self._first < self._examined and self._playout.end_of_message_ns(self._first) <= self._from_ns:
            self._first += 1
        return None

    def _find_yield_ns(self, spoken_over_ns: int, now_ns: int) -> int | None:
        clear_ns = self._playout.find_clear_ns(spoken_over_ns)
        if clear_ns is not None:
            return clear_ns
        return self.audible_until_ns if self.audible_until_ns + YIELD_SILENCE_NS <= now_ns else None
