"""What the caller has heard: Twilio's playout buffer, followed by a playback clock and by marks.

Twilio plays at 8 kHz without a pause what it has, so that each message ends its own length after the later of its
sending and the end of what was buffered. The way there takes its time, but a `clear` takes the same: what the clock
calls unheard is what the `clear` will find in the buffer. An echoed mark proves that the audio before it has played,
whatever the clock says; the echo of a mark that was cleared proves nothing.
"""

from __future__ import annotations

from collections import Counter

from turngap_agent.telephony import SAMPLE_RATE

NS_PER_SAMPLE = 1_000_000_000 // SAMPLE_RATE


class Playback:
    """One call's playout buffer as seen from the agent."""

    def __init__(self) -> None:
        self._ends_ns = 0
        self._waiting: dict[str, int] = {}
        """Marks not yet echoed, with the clock's time for each."""
        self._cleared: Counter[str] = Counter()
        """Marks whose echo is still to come, and means nothing."""

    def sent(self, samples: int, now_ns: int) -> int:
        """Audio was handed to the socket; when it begins to play."""
        begins_ns = max(self._ends_ns, now_ns)
        self._ends_ns = begins_ns + samples * NS_PER_SAMPLE
        return begins_ns

    def marked(self, name: str) -> None:
        """A mark was sent after the audio."""
        self._waiting[name] = self._ends_ns

    def echoed(self, name: str, now_ns: int) -> bool:
        """A mark came back; False when none of that name was sent."""
        if self._cleared[name]:  # echoes come in the order of their marks
            self._cleared[name] -= 1
            return True
        due_ns = self._waiting.pop(name, None)
        if due_ns is None:
            return False
        self._ends_ns -= max(0, due_ns - now_ns)
        return True

    @property
    def pending(self) -> tuple[str, ...]:
        """Marks that have not come back, in order."""
        return tuple(self._waiting)

    def cleared(self, now_ns: int) -> None:
        """`clear` was sent: nothing more will be played, and the echoes of pending marks prove nothing."""
        self._ends_ns = min(self._ends_ns, now_ns)
        self._cleared.update(self._waiting.keys())
        self._waiting.clear()

    def unheard(self, now_ns: int) -> int:
        """Samples sent that have not been played, one that is being played included."""
        return -(-max(0, self._ends_ns - now_ns) // NS_PER_SAMPLE)
