"""From a sound card's sample rate to the telephone's and back, while the audio arrives; the loudspeaker's queue.

The filter is our own for its delay: 1.25 ms between 48 and 8 kHz. soxr 1.1's stream holds back 3-40 ms in bursts at its
lowest quality that filters at all, and a constant 27.5 ms with a variable rate: each would be part of the turn gap.
"""

from __future__ import annotations

import math
import threading

import numpy as np
import numpy.typing as npt
from scipy import signal
from turngap_agent.telephony import SAMPLE_RATE

from turngap.model.records import Pcm16

Samples = npt.NDArray[np.float32]

_HALF_LENGTH = 10
"""Half the filter's length, in samples of the lower of the two rates."""


class Resampler:
    """Resamples a stream by a polyphase FIR; n samples in, ceil(n · to / from) out, whatever the block sizes."""

    def __init__(self, rate: int, to_rate: int) -> None:
        """The filter has linear phase, a Kaiser window (beta 5), and cuts off at half the lower rate."""
        common = math.gcd(rate, to_rate)
        self._up, self._down = to_rate // common, rate // common
        half = _HALF_LENGTH * max(self._up, self._down) if rate != to_rate else 0
        taps = (
            signal.firwin(2 * half + 1, 1 / max(self._up, self._down), window=("kaiser", 5.0)) if half else np.ones(1)
        )
        self._taps = np.asarray(taps * self._up, np.float64)
        self.delay_s = half / (rate * self._up)
        """The filter's delay: an output sample is this much later than its input."""
        self._history = -(-2 * half // self._up)
        self._buffer = np.zeros(0, np.float64)
        self._buffer_start = self._samples_in = self._samples_out = 0

    @property
    def samples_in(self) -> int:
        """The number of samples pushed so far."""
        return self._samples_in

    @property
    def samples_out(self) -> int:
        """The number of samples returned so far."""
        return self._samples_out

    def push(self, samples: Samples) -> Samples:
        """Add the next samples, shape (n,); return the output samples that they complete, shape (m,)."""
        self._buffer = np.concatenate([self._buffer, samples])
        self._samples_in += len(samples)
        end = -(-self._samples_in * self._up // self._down)
        first = self._buffer_start * self._up // self._down
        filtered = signal.upfirdn(self._taps, self._buffer, self._up, self._down) if len(self._buffer) else np.zeros(0)
        output = filtered[self._samples_out - first : end - first]
        self._samples_out = end
        # The buffer starts at a sample at which the grids of both rates meet.
        start = max(self._buffer_start, (self._samples_in - self._history) // self._down * self._down)
        self._buffer = self._buffer[start - self._buffer_start :]
        self._buffer_start = start
        return np.asarray(output, np.float32)


class LoudspeakerQueue:
    """The agent's audio at the loudspeaker's rate, fed by one thread, taken by another; silence while it is empty."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._resampler = Resampler(SAMPLE_RATE, rate)
        self._queue = np.zeros(0, np.float32)
        self._lock = threading.Lock()

    def feed(self, pcm: Pcm16) -> None:
        """Append audio, shape (n,), 8 kHz."""
        with self._lock:
            if not len(self._queue):  # nothing to join: what the filter still holds was played long ago
                self._resampler = Resampler(SAMPLE_RATE, self._rate)
            samples = self._resampler.push((pcm / 32_768).astype(np.float32))
            self._queue = np.concatenate([self._queue, samples])

    def take(self, samples: int) -> Samples:
        """Remove and return the next samples to be played, shape (samples,)."""
        with self._lock:
            block, self._queue = self._queue[:samples], self._queue[samples:]
        return np.pad(block, (0, samples - len(block)))

    def clear(self) -> None:
        """Discard the queued audio."""
        with self._lock:
            self._queue = np.zeros(0, np.float32)
