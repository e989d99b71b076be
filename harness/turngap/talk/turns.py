"""When a turn of a conversation that nobody planned is over: the agent was heard, and has been silent for a while."""

from __future__ import annotations

from turngap.caller.onset import find_onset
from turngap.caller.playout import Playout, segments
from turngap.clock import NS_PER_MS

QUIET_NS = 800 * NS_PER_MS
"""Nothing buffered for that long: longer than the pauses between an agent's clauses as a rule."""


class Turns:
    """Told the time, says when a reply is over."""

    def __init__(self, playout: Playout, from_ns: int) -> None:
        self._playout = playout
        self._first = 0
        self.from_ns = from_ns
        """Where the turn that goes on began."""
        self.onset_ns: int | None = None
        """The first audible sample of the reply, where it is being heard."""

    def reply_over(self, now_ns: int) -> int | None:
        """The onset of the reply that is over by now; the next turn begins then. None: not yet."""
        if self.onset_ns is None:
            found = find_onset(segments(self._playout.received_since(self._first), self.from_ns), self.from_ns)
            self.onset_ns = found if found is not None and found <= now_ns else None
        if self.onset_ns is None or now_ns < self._playout.end_ns + QUIET_NS:
            return None
        return self.onset_ns

    def next(self) -> None:
        """The turn is over: the next one began when the last of what was received had been played."""
        self.from_ns, self.onset_ns = self._playout.end_ns, None
        self._first = len(self._playout.received)
