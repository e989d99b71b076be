"""Sample rates: a synthesiser's audio down to the telephone's 8 kHz as it comes, an utterance up to 16 kHz at once.

The filter down is a linear-phase FIR (Kaiser window, 60 dB), applied at the output's samples alone (polyphase). It is
short: it holds back the newest 1.5 ms of the audio, and nothing more; its output is not shifted against its input.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import signal

from turngap_agent.telephony import SAMPLE_RATE

AudioF32 = npt.NDArray[np.float32]
Pcm16 = npt.NDArray[np.int16]

_HALF_LENGTH_S = 0.0015
_CUTOFF_HZ = 3950.0
_ATTENUATION_DB = 60.0
_FULL_SCALE = 32_767.0


def to_16k(audio: AudioF32) -> AudioF32:
    """8 kHz `audio`, shape (n,), at 16 kHz, shape (2n,)."""
    return np.asarray(signal.resample_poly(audio, 2, 1), np.float32)


class Downsampler:
    """Takes mono float audio at `rate` in pieces of any length, gives int16 at 8 kHz.

    The output of a stream is the same whatever the pieces: sample m is the filtered input at m/8000 s, and n input
    samples give ceil(n · 8000 / rate) output samples once flushed.
    """

    def __init__(self, rate: int) -> None:
        """Rates from 8 kHz up; at 8 kHz itself samples pass unfiltered.

        Raises:
            ValueError: `rate` is below 8 kHz.
        """
        if rate < SAMPLE_RATE:
            raise ValueError(f"a synthesiser at {rate} Hz is below the telephone's {SAMPLE_RATE} Hz")
        common = math.gcd(rate, SAMPLE_RATE)
        self._up, self._down = SAMPLE_RATE // common, rate // common
        self._phases, self._behind, self._ahead = _polyphase(rate, self._up)
        self._rate = rate
        self.reset()

    @property
    def delay_ms(self) -> float:
        """How much of the newest audio is held back until more follows, in milliseconds."""
        return self._ahead / self._rate * 1000

    def reset(self) -> None:
        """Begin a new stream."""
        self._input = np.zeros(self._behind, np.float64)
        self._input_start = -self._behind
        self._taken = 0
        self._given = 0

    def push(self, audio: AudioF32) -> Pcm16:
        """Take samples, shape (n,), full scale ±1; give the 8 kHz samples they complete."""
        self._input = np.concatenate([self._input, audio])
        self._taken += len(audio)
        newest = self._taken - 1 - self._ahead
        return self._give(max(0, (newest * self._up) // self._down + 1) if newest >= 0 else 0)

    def flush(self) -> Pcm16:
        """The stream is over: give what was held back, and be ready for a new one."""
        self._input = np.concatenate([self._input, np.zeros(self._ahead, np.float64)])
        tail = self._give(-(-self._taken * self._up // self._down))
        self.reset()
        return tail

    def _give(self, until: int) -> Pcm16:
        """Output samples from the first not yet given up to `until`."""
        wanted = np.arange(self._given, max(until, self._given), dtype=np.int64) * self._down
        at, phase = wanted // self._up, wanted % self._up
        rows = (at - self._behind - self._input_start)[:, None] + np.arange(self._phases.shape[1])
        filtered = (self._input[rows] * self._phases[phase]).sum(axis=1)
        self._given = max(until, self._given)
        keep_from = (self._given * self._down) // self._up - self._behind
        self._input = self._input[max(0, keep_from - self._input_start) :]
        self._input_start = max(self._input_start, keep_from)
        return np.asarray(np.clip(np.rint(filtered * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE), np.int16)


def _polyphase(rate: int, up: int) -> tuple[npt.NDArray[np.float64], int, int]:
    """Weights per phase, shape (up, taps), over the inputs from `behind` before to `ahead` after each position."""
    if rate == SAMPLE_RATE:
        return np.ones((1, 1)), 0, 0
    reach = math.floor(_HALF_LENGTH_S * rate)
    offsets = np.arange(-reach, reach + 1)
    # Tap of the input at `offset` for an output `phase/up` samples later: the windowed ideal low pass at the distance.
    distance = offsets[None, :] - np.arange(up)[:, None] / up
    window = np.i0(signal.kaiser_beta(_ATTENUATION_DB) * np.sqrt(np.maximum(0, 1 - (distance / (reach + 1)) ** 2)))
    weights = np.sinc(2 * _CUTOFF_HZ / rate * distance) * window
    return weights / weights.sum(axis=1, keepdims=True), reach, reach
