"""What is to be played: the agent's audio at the loudspeaker's rate, fed by one thread and taken by another."""

from __future__ import annotations

import threading

import numpy as np
from turngap_agent.telephony import SAMPLE_RATE

from turngap.model.records import Pcm16
from turngap.talk.resampling import Resampler, Samples


class Speaker:
    """A queue of samples; silence where it is empty."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._resampler = Resampler(SAMPLE_RATE, rate)
        self._queue = np.zeros(0, np.float32)
        self._lock = threading.Lock()

    def feed(self, pcm: Pcm16) -> None:
        """Play that after what waits; shape (n,), 8 kHz."""
        with self._lock:
            if not len(self._queue):  # nothing to be joined to: what the filter still holds is long past
                self._resampler = Resampler(SAMPLE_RATE, self._rate)
            samples = self._resampler.push((pcm / 32_768).astype(np.float32))
            self._queue = np.concatenate([self._queue, samples])

    def take(self, samples: int) -> Samples:
        """The next ones to be played, shape (samples,)."""
        with self._lock:
            taken, self._queue = self._queue[:samples], self._queue[samples:]
        return np.pad(taken, (0, samples - len(taken)))

    def clear(self) -> None:
        """Forget what waits."""
        with self._lock:
            self._queue = np.zeros(0, np.float32)
