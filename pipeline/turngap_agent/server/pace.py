"""How fast a caller may send: real time, and a burst beyond it. Pure; times are passed in."""

from __future__ import annotations

from dataclasses import dataclass

from turngap_agent.telephony import FRAME_MS

MESSAGES_AHEAD = 8
"""Messages that may come for each frame of the burst: short frames, marks and what is ignored count too."""
_FRAMES_PER_S = 1000 / FRAME_MS


@dataclass(slots=True)
class InboundPace:
    """Counts what one stream has sent, against the time that has passed since its start."""

    burst_s: float
    """How far it may be ahead of real time, seconds of audio."""
    start_ns: int
    _audio_s: float = 0.0
    _messages: int = 0

    def excess(self, audio_ms: float, now_ns: int) -> str:
        """Count a message that carries so much audio; return why it is one too many, or "" if it may be heard."""
        self._audio_s += audio_ms / 1000
        self._messages += 1
        allowed_s = (now_ns - self.start_ns) / 1e9 + self.burst_s
        if self._audio_s > allowed_s:
            return f"{self._audio_s:.1f} s of audio in {allowed_s - self.burst_s:.1f} s: faster than real time"
        if self._messages > allowed_s * _FRAMES_PER_S * MESSAGES_AHEAD:
            return f"{self._messages} messages in {allowed_s - self.burst_s:.1f} s: too many"
        return ""
