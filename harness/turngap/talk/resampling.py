"""Sample rates of a sound card to the telephone's and back, as the audio comes: a polyphase FIR fed piece by piece."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import signal

Samples = npt.NDArray[np.float32]

_REACH = 10
"""Half the filter's length, in samples of the lower of the two rates."""


class Resampler:
    """A stream from one rate to another, the same whatever the pieces; n samples in, ceil(n · to / from) out."""

    def __init__(self, rate: int, to_rate: int) -> None:
        """Linear phase, Kaiser window (beta 5), cut off at the lower rate's half."""
        common = math.gcd(rate, to_rate)
        self._up, self._down = to_rate // common, rate // common
        half = _REACH * max(self._up, self._down) if rate != to_rate else 0
        taps = (
            signal.firwin(2 * half + 1, 1 / max(self._up, self._down), window=("kaiser", 5.0)) if half else np.ones(1)
        )
        self._taps = np.asarray(taps * self._up, np.float64)
        self.delay_s = half / (rate * self._up)
        """How much later than its input a sample is given."""
        self._kept = -(-2 * half // self._up)
        self._buffer = np.zeros(0, np.float64)
        self._begin = self._taken = self._given = 0

    @property
    def given(self) -> int:
        """Samples given so far."""
        return self._given

    @property
    def taken(self) -> int:
        """Samples taken so far."""
        return self._taken

    def push(self, samples: Samples) -> Samples:
        """Take the next samples, shape (n,); give those that they complete, shape (m,)."""
        self._buffer = np.concatenate([self._buffer, samples])
        self._taken += len(samples)
        until = -(-self._taken * self._up // self._down)
        first = self._begin * self._up // self._down
        filtered = signal.upfirdn(self._taps, self._buffer, self._up, self._down) if len(self._buffer) else np.zeros(0)
        given = filtered[self._given - first : until - first]
        self._given = until
        # Kept from a sample on at which the grids of both rates meet.
        keep_from = max(self._begin, (self._taken - self._kept) // self._down * self._down)
        self._buffer = self._buffer[keep_from - self._begin :]
        self._begin = keep_from
        return np.asarray(given, np.float32)
