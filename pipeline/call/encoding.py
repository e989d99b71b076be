"""A reply's PCM as payloads for the line: 8 kHz, μ-law, cut so that the first leaves at once."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.resample import Downsampler
from pipeline.telephony import SAMPLE_RATE, mulaw
from pipeline.tts import AudioF32

FIRST_SAMPLES = 320
"""40 ms: the caller hears the reply's head while the rest is still being coded."""
LATER_SAMPLES = 1600
"""200 ms: Twilio buffers any length, and a tenth of the messages is a tenth of the work in the event loop. Nothing is
ever held back to fill a message, so that the size costs no time."""


class LineEncoder:
    """One reply's encoder; clauses follow each other through it."""

    def __init__(self, rate: int, lead_in_samples: int = 0) -> None:
        """For PCM at `rate`; `lead_in_samples` of silence go before the first audio (fault injection)."""
        self._down = Downsampler(rate)
        self._head = round((FIRST_SAMPLES / SAMPLE_RATE + self._down.delay_ms / 1000) * rate)
        self._step = LATER_SAMPLES * rate // SAMPLE_RATE
        self._silence = mulaw.SILENCE * lead_in_samples
        self._size = FIRST_SAMPLES

    def push(self, pcm: AudioF32) -> Iterator[bytes]:
        """Payloads of the next piece of a clause, shape (n,), full scale ±1; the first one as soon as it can be."""
        while len(pcm):
            # A message's worth at a time: filtering a whole clause at once would hold the event loop.
            count = self._head if self._size == FIRST_SAMPLES else self._step
            yield from self._cut(mulaw.encode(self._down.push(pcm[:count])))
            pcm = pcm[count:]

    def flush(self) -> Iterator[bytes]:
        """The clause is over: what the filter held back."""
        yield from self._cut(mulaw.encode(self._down.flush()))

    def _cut(self, payload: bytes) -> Iterator[bytes]:
        if payload:
            payload, self._silence = self._silence + payload, b""
        while payload:
            size, self._size = self._size, LATER_SAMPLES
            yield payload[:size]
            payload = payload[size:]
