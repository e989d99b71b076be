"""What the caller has heard: Twilio's playout buffer, followed by marks and by a playback clock.

An echoed mark says that the audio before it has played or was cleared. Between marks the clock tells: Twilio plays at
8 kHz without a pause what it has, so that each message ends its own length after the later of its sending and the end
of what was buffered. The network's way there is not in it, so what is taken for heard may be some 100 ms too much.
"""

from __future__ import annotations

from pipeline.telephony import SAMPLE_RATE

GRACE_NS = 1_000_000_000
"""A line that never echoes a mark counts as silent this long after the clock's end of playback."""
_NS_PER_SAMPLE = 1_000_000_000 // SAMPLE_RATE


class Playback:
    """One call's playout buffer as seen from the agent."""

    def __init__(self) -> None:
        self._ends_ns = 0
        self._waiting: set[str] = set()
        self._unmarked = False

    def sent(self, samples: int, now_ns: int) -> None:
        """Audio was handed to the socket."""
        self._ends_ns = max(self._ends_ns, now_ns) + samples * _NS_PER_SAMPLE
        self._unmarked = True

    def marked(self, name: str) -> None:
        """A mark was sent after the audio."""
        self._waiting.add(name)
        self._unmarked = False

    def echoed(self, name: str) -> bool:
        """A mark came back; False when none of that name was waited for."""
        if name not in self._waiting:
            return False
        self._waiting.discard(name)
        return True

    def cleared(self, now_ns: int) -> None:
        """`clear` was sent: nothing more will be played."""
        self._ends_ns = min(self._ends_ns, now_ns)
        self._waiting.clear()
        self._unmarked = False

    def playing(self, now_ns: int) -> bool:
        """Whether the caller may be hearing the agent: audio without an echo that the clock does not rule out."""
        return (self._unmarked or bool(self._waiting)) and now_ns < self._ends_ns + GRACE_NS

    def unheard(self, now_ns: int) -> int:
        """Samples sent that the clock says have not been played."""
        return max(0, self._ends_ns - now_ns) // _NS_PER_SAMPLE
