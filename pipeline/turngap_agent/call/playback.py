"""What the caller has heard, and how loud it was: Twilio's playout buffer as seen from the agent.

Twilio plays what it has at 8 kHz without a pause, so each message ends its own length after the later of its sending
and the end of what was buffered. The way there takes time, but a `clear` takes the same: the audio that this clock
calls unheard is the audio that the `clear` will find in the buffer. An echoed mark proves that the audio before it has
played, whatever the clock says; the echo of a mark that was cleared proves nothing.
"""

from __future__ import annotations

from collections import Counter, deque

from turngap_agent.endpointing.windows import SILENT_DBFS, level_dbfs
from turngap_agent.profile.sections import BargeInSettings
from turngap_agent.telephony import SAMPLE_RATE, mulaw

NS_PER_SAMPLE = 1_000_000_000 // SAMPLE_RATE
_FRAME_SAMPLES = 160


class Playback:
    """The playback clock of one call."""

    def __init__(self) -> None:
        self._ends_ns = 0
        self._marks: dict[str, int] = {}
        """Marks not yet echoed, with the clock's time for each."""
        self._cleared: Counter[str] = Counter()
        """Marks whose echo is still to come, and means nothing."""

    def add_audio(self, samples: int, now_ns: int) -> int:
        """Note that audio was handed to the socket; return when it begins to play."""
        begins_ns = max(self._ends_ns, now_ns)
        self._ends_ns = begins_ns + samples * NS_PER_SAMPLE
        return begins_ns

    def add_mark(self, name: str) -> None:
        """Note that a mark was sent after the audio."""
        self._marks[name] = self._ends_ns

    def take_echo(self, name: str, now_ns: int) -> bool:
        """Note that a mark came back; return False if none of that name was sent."""
        if self._cleared[name]:  # echoes come in the order of their marks
            self._cleared[name] -= 1
            return True
        due_ns = self._marks.pop(name, None)
        if due_ns is None:
            return False
        self._ends_ns -= max(0, due_ns - now_ns)
        return True

    @property
    def pending_marks(self) -> tuple[str, ...]:
        """Marks that have not come back, in order."""
        return tuple(self._marks)

    def clear(self, now_ns: int) -> None:
        """Note that `clear` was sent: nothing more is played, and the echoes of pending marks prove nothing."""
        self._ends_ns = min(self._ends_ns, now_ns)
        self._cleared.update(self._marks.keys())
        self._marks.clear()

    def unheard_samples(self, now_ns: int) -> int:
        """Return how many sent samples have not been played, one that is being played included."""
        return -(-max(0, self._ends_ns - now_ns) // NS_PER_SAMPLE)


class PlayedLevels:
    """How loud the agent was, in frames of 20 ms by the playback clock, as far back as an echo may reach.

    It tells the caller's voice from the agent's own, returned as an echo. A telephone line returns what is played into
    it 25 to 35 dB weaker and 100 to 250 ms later. A voice detector calls that speech, so its verdict on such a window
    is not used.
    """

    def __init__(self, settings: BargeInSettings) -> None:
        self._reach_ns = settings.echo_within_ms * 1_000_000
        self._below_db = settings.echo_below_db
        self._frames: deque[tuple[int, int, float]] = deque()
        """Start, end and level of each, in order."""

    def add(self, payload: bytes, begins_ns: int) -> None:
        """Note audio that begins to play at `begins_ns`."""
        for at in range(0, len(payload), _FRAME_SAMPLES):
            frame = payload[at : at + _FRAME_SAMPLES]
            start_ns = begins_ns + at * NS_PER_SAMPLE
            self._frames.append((start_ns, start_ns + len(frame) * NS_PER_SAMPLE, level_dbfs(mulaw.decode(frame))))

    def cut(self, now_ns: int) -> None:
        """Drop what was to play after `now_ns`."""
        while self._frames and self._frames[-1][0] >= now_ns:
            self._frames.pop()

    def is_echo(self, inbound_dbfs: float, start_ns: int, arrived_ns: int) -> bool:
        """Whether inbound audio of that level, from `start_ns` until it was read, is too weak to be anything else."""
        while self._frames and self._frames[0][1] < start_ns - self._reach_ns:
            self._frames.popleft()
        loudest = max((level for start, _, level in self._frames if start <= arrived_ns), default=SILENT_DBFS)
        return loudest > SILENT_DBFS and inbound_dbfs < loudest - self._below_db
