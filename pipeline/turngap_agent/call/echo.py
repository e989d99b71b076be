"""Tells the caller's voice from the agent's own, come back as an echo: by level, against what was played before it.

A telephone line returns what is played into it 25 to 35 dB weaker and 100 to 250 ms later. A voice detector calls that
speech, so its verdict on such a window is not used.
"""

from __future__ import annotations

from collections import deque

from turngap_agent.call.playback import NS_PER_SAMPLE
from turngap_agent.endpointing.windows import SILENT_DBFS, level_dbfs
from turngap_agent.profile.barge_in import BargeInSettings
from turngap_agent.telephony import mulaw

_FRAME_SAMPLES = 160


class Played:
    """How loud the agent has been, in frames of 20 ms by the playback clock, as far back as an echo may reach."""

    def __init__(self, settings: BargeInSettings) -> None:
        self._reach_ns = settings.echo_within_ms * 1_000_000
        self._below_db = settings.echo_below_db
        self._frames: deque[tuple[int, int, float]] = deque()
        """Start, end and level of each, in order."""

    def add(self, payload: bytes, begins_ns: int) -> None:
        """Audio was sent that begins to play then."""
        for at in range(0, len(payload), _FRAME_SAMPLES):
            frame = payload[at : at + _FRAME_SAMPLES]
            start_ns = begins_ns + at * NS_PER_SAMPLE
            self._frames.append((start_ns, start_ns + len(frame) * NS_PER_SAMPLE, level_dbfs(mulaw.decode(frame))))

    def cut(self, now_ns: int) -> None:
        """What was to play after `now_ns` will not."""
        while self._frames and self._frames[-1][0] >= now_ns:
            self._frames.pop()

    def is_echo(self, heard_dbfs: float, begun_ns: int, arrived_ns: int) -> bool:
        """Whether inbound audio of that level, from `begun_ns` until it was read, is too weak to be anything else."""
        while self._frames and self._frames[0][1] < begun_ns - self._reach_ns:
            self._frames.popleft()
        loudest = max((level for start, _, level in self._frames if start <= arrived_ns), default=SILENT_DBFS)
        return loudest > SILENT_DBFS and heard_dbfs < loudest - self._below_db
