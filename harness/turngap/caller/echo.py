"""Echo: the agent's audio, as the caller's end played it, back in the caller's frames, weaker and later.

What was played before the delay can no longer change (a `clear` takes away the future only), so each frame is read from
the playout once, from where the last one ended.
"""

from __future__ import annotations

import numpy as np
from turngap_agent.telephony import FRAME_SAMPLES

from turngap.caller.playout import Playout
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import Pcm16
from turngap.scenario import Echo


class EchoPath:
    """From the playout back into the line of one call."""

    def __init__(self, echo: Echo, playout: Playout) -> None:
        self._gain = 10 ** (-echo.attenuation_db / 20)
        self._delay_ns = echo.delay_ms * NS_PER_MS
        self._playout = playout
        self._first = 0

    def frame(self, start_ns: int) -> Pcm16 | None:
        """What comes back in the frame that begins at `start_ns`, shape (160,); None where nothing does.

        Frames are asked for in order, each once its time has come.
        """
        from_ns = start_ns - self._delay_ns
        echo: Pcm16 | None = None
        past = True
        for message in self._playout.received_since(self._first):
            # Rounded to the sample: a message begins when it arrives, anywhere between two samples.
            at = round((message.play_ns - from_ns) / NS_PER_SAMPLE)
            # One that was cleared before it began was to play later than what came after it: it ends nothing.
            if not message.played_samples or at + message.played_samples <= 0:
                self._first += past
                continue
            past = False
            if at >= FRAME_SAMPLES:
                break
            first, beyond = max(0, at), min(FRAME_SAMPLES, at + message.played_samples)
            echo = np.zeros(FRAME_SAMPLES, np.int16) if echo is None else echo
            echo[first:beyond] = np.rint(message.pcm[first - at : beyond - at] * self._gain)
        return echo
