"""A reply's PCM as payloads for the wire: 8 kHz, μ-law, cut so that the first leaves at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from turngap_agent.resample import Downsampler, Pcm16
from turngap_agent.telephony import SAMPLE_RATE, mulaw
from turngap_agent.tts import AudioF32

FIRST_SAMPLES = 320
"""40 ms: the caller hears the reply's beginning while the rest is still being encoded."""
LATER_SAMPLES = 1600
"""200 ms: Twilio buffers any length, and a tenth of the messages is a tenth of the work in the event loop. Audio is
never held back to fill a message, so the size costs no time."""
FADE_SAMPLES = 12
"""1.5 ms at each end of a clause, what the filter holds back: a synthesiser that starts or stops in the middle of a
wave does not click, and a quiet end is unchanged."""


class ReplyEncoder:
    """Encodes one reply, clause after clause, each from silence to silence."""

    def __init__(self, rate: int, lead_in_samples: int = 0) -> None:
        """Args: `rate` of the PCM, Hz; `lead_in_samples` of silence before the first audio (fault injection)."""
        self._down = Downsampler(rate)
        self._head = round((FIRST_SAMPLES / SAMPLE_RATE + self._down.delay_ms / 1000) * rate)
        self._step = LATER_SAMPLES * rate // SAMPLE_RATE
        self._silence = mulaw.SILENCE * lead_in_samples
        self._size = FIRST_SAMPLES
        self._encoded = 0
        """Samples of this clause so far."""

    def push(self, pcm: AudioF32) -> Iterator[bytes]:
        """Yield payloads for the next piece of a clause, shape (n,), full scale ±1; the first as soon as possible."""
        while len(pcm):
            # A message's worth at a time: filtering a whole clause at once would hold the event loop.
            count = self._head if self._size == FIRST_SAMPLES else self._step
            yield from self._cut(mulaw.encode(self._fade_in(self._down.push(pcm[:count]))))
            pcm = pcm[count:]

    def flush(self) -> Iterator[bytes]:
        """End the clause: yield what the filter held back."""
        tail = self._fade_in(self._down.flush())
        self._encoded = 0
        ramp = np.arange(len(tail), 0, -1) - 0.5
        yield from self._cut(mulaw.encode(np.rint(tail * ramp / max(len(tail), 1)).astype(np.int16)))

    def _fade_in(self, pcm: Pcm16) -> Pcm16:
        head = pcm[: max(0, FADE_SAMPLES - self._encoded)]
        ramp = (np.arange(self._encoded, self._encoded + len(head)) + 0.5) / FADE_SAMPLES
        self._encoded += len(pcm)
        return np.concatenate([np.rint(head * ramp).astype(np.int16), pcm[len(head) :]])

    def _cut(self, payload: bytes) -> Iterator[bytes]:
        if payload:
            payload, self._silence = self._silence + payload, b""
        while payload:
            size, self._size = self._size, LATER_SAMPLES
            yield payload[:size]
            payload = payload[size:]
