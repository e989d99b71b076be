"""Who can stand at the agent's end of the loop: an echo, for its floor, and an agent whose delay is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from turngap_agent.telephony import mulaw
from turngap_agent.telephony.messages import Inbound, InboundMedia, OutboundMark, OutboundMedia

from turngap.calibration.calibrate import burst
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.live.agent_leg import Say
from turngap.live.track import SAMPLES_PER_MS, Frame

MIN_DELAY_MS = 80.0
REPLY_MS = 400.0
AUDIBLE = 500
"""A sample over this (-36 dBFS) is speech: comfort noise at -60 dBFS never is."""


class Echo:
    """Says back what it hears, frame by frame, at once."""

    def __init__(self) -> None:
        self._say: Say | None = None

    async def open(self, say: Say, on_closed: Callable[[str], None]) -> None:
        """As `Answerer`."""
        self._say = say

    def hear(self, message: Inbound, frame: Frame | None, line_start_ns: int | None) -> None:
        """Send a frame back."""
        if isinstance(message, InboundMedia) and self._say is not None:
            self._say(OutboundMedia("", message.payload))

    async def close(self) -> None:
        """Nothing is held."""


class KnownDelay:
    """Answers with a burst of noise so long after the last loud sample it heard, at that sample's own line time.

    Exact for utterances that end sharply (the bursts of a fake run); with speech it is off by what lies between the
    label and the last sample over -36 dBFS. It takes for an end what is quiet for 40 ms less than its delay, at most
    300 ms: it knows nothing of what is said.
    """

    def __init__(self, delay_ms: float, scheduler: Scheduler) -> None:
        self._delay_ns = round(delay_ms * NS_PER_MS)
        self._hangover = round(min(delay_ms - 40, 300) * SAMPLES_PER_MS)
        self._scheduler = scheduler
        self._say: Say | None = None
        self._last: int | None = None
        self._replies = 0

    async def open(self, say: Say, on_closed: Callable[[str], None]) -> None:
        """As `Answerer`."""
        self._say = say

    def hear(self, message: Inbound, frame: Frame | None, line_start_ns: int | None) -> None:
        """Look for the end of speech."""
        if frame is None or line_start_ns is None:
            return
        loud = np.flatnonzero(np.abs(frame.pcm.astype(np.int32)) > AUDIBLE)
        if len(loud):
            self._last = frame.offset + int(loud[-1]) + 1
        elif self._last is not None and frame.offset + len(frame.pcm) - self._last >= self._hangover:
            at_ns = line_start_ns + self._last * NS_PER_SAMPLE + self._delay_ns
            self._last = None
            self._scheduler.at(at_ns, self._reply)

    async def close(self) -> None:
        """Say no more."""
        self._say = None

    def _reply(self, due_ns: int) -> None:
        if self._say is None:
            return
        self._replies += 1
        self._say(OutboundMedia("", mulaw.encode(burst(REPLY_MS, 1000 + self._replies).pcm)))
        self._say(OutboundMark("", f"reply-{self._replies}"))
