"""A reply's PCM as payloads for the line: 8 kHz, μ-law, cut so that the first leaves at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from turngap_agent.resample import Downsampler, Pcm16
from turngap_agent.telephony import SAMPLE_RATE, mulaw
from turngap_agent.tts import AudioF32

FIRST_SAMPLES = 320
"""40 ms: the caller hears the reply's head while the rest is still being coded."""
LATER_SAMPLES = 1600
"""200 ms: Twilio buffers any length, and a tenth of the messages is a tenth of the work in the event loop. Nothing is
ever held back to fill a message, so that the size costs no time."""
FADE_SAMPLES = 12
"""1.5 ms at each end of a clause, what the filter holds back: a synthesiser that begins or breaks off in the middle of
a wave does not click, and a quiet end is as it was."""


class LineEncoder:
    """One reply's encoder; clauses follow each other through it, each from silence to silence."""

    def __init__(self, rate: int, lead_in_samples: int = 0) -> None:
        """For PCM at `rate`; `lead_in_samples` of silence go before the first audio (fault injection)."""
        self._down = Downsampler(rate)
        self._head = round((FIRST_SAMPLES / SAMPLE_RATE + self._down.delay_ms / 1000) * rate)
        self._step = LATER_SAMPLES * rate // SAMPLE_RATE
        self._silence = mulaw.SILENCE * lead_in_samples
        self._size = FIRST_SAMPLES
        self._given = 0
        """Samples of this clause that were given."""

    def push(self, pcm: AudioF32) -> Iterator[bytes]:
        """Payloads of the next piece of a clause, shape (n,), full scale ±1; the first one as soon as it can be."""
        while len(pcm):
            # A message's worth at a time: filtering a whole clause at once would hold the event loop.
            count = self._head if self._size == FIRST_SAMPLES else self._step
            yield from self._cut(mulaw.encode(self._faded_in(self._down.push(pcm[:count]))))
            pcm = pcm[count:]

    def flush(self) -> Iterator[bytes]:
        """The clause is over: what the filter held back."""
        tail = self._faded_in(self._down.flush())
        self._given = 0
        ramp = np.arange(len(tail), 0, -1) - 0.5
        yield from self._cut(mulaw.encode(np.rint(tail * ramp / max(len(tail), 1)).astype(np.int16)))

    def _faded_in(self, pcm: Pcm16) -> Pcm16:
        head = pcm[: max(0, FADE_SAMPLES - self._given)]
        ramp = (np.arange(self._given, self._given + len(head)) + 0.5) / FADE_SAMPLES
        self._given += len(pcm)
        return np.concatenate([np.rint(head * ramp).astype(np.int16), pcm[len(head) :]])

    def _cut(self, payload: bytes) -> Iterator[bytes]:
        if payload:
            payload, self._silence = self._silence + payload, b""
        while payload:
            size, self._size = self._size, LATER_SAMPLES
            yield payload[:size]
            payload = payload[size:]
