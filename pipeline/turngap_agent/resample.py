"""Resampling: a synthesiser's audio down to the telephone's 8 kHz as a stream, an utterance up to 16 kHz at once.

The filter down is a linear-phase FIR (Kaiser window, 60 dB), computed for the output's samples only (polyphase). It is
our own because it holds back only the newest 1.5 ms of the audio, and that time is part of every turn gap: soxr's
stream holds back 5 to 70 ms. Its output is not shifted against its input.
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


_UP_FILTER: AudioF32 = np.asarray(signal.firwin(41, 0.5, window=("kaiser", 5.0)), np.float32)
"""The filter that `scipy.signal.resample_poly` designs for a doubled rate, anew for each call."""


def to_16k(audio: AudioF32) -> AudioF32:
    """Return 8 kHz `audio`, shape (n,), at 16 kHz, shape (2n,)."""
    up = signal.resample_poly(audio, 2, 1, window=_UP_FILTER)  # type: ignore[call-overload]  # it takes filters too
    return np.asarray(up, np.float32)


class Downsampler:
    """Converts mono float audio at `rate`, in pieces of any length, to int16 at 8 kHz.

    The output of a stream does not depend on the pieces: sample m is the filtered input at m/8000 s, and n input
    samples make ceil(n · 8000 / rate) output samples, once flushed.
    """

    def __init__(self, rate: int) -> None:
        """Take a rate of 8 kHz or more, in Hz; at 8 kHz samples pass unfiltered.

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
        """The time of the newest audio that is held back until more follows, in milliseconds."""
        return self._ahead / self._rate * 1000

    def reset(self) -> None:
        """Start a new stream."""
        self._input = np.zeros(self._behind, np.float64)
        self._input_start = -self._behind
        self._n_input = 0
        self._n_output = 0

    def push(self, audio: AudioF32) -> Pcm16:
        """Take samples, shape (n,), full scale ±1; return the 8 kHz samples that they complete."""
        self._input = np.concatenate([self._input, audio])
        self._n_input += len(audio)
        newest = self._n_input - 1 - self._ahead
        return self._filter(max(0, (newest * self._up) // self._down + 1) if newest >= 0 else 0)

    def flush(self) -> Pcm16:
        """End the stream: return the samples that were held back, and be ready for a new one."""
        self._input = np.concatenate([self._input, np.zeros(self._ahead, np.float64)])
        tail = self._filter(-(-self._n_input * self._up // self._down))
        self.reset()
        return tail

    def _filter(self, until: int) -> Pcm16:
        """Return the output samples from the first one not yet returned up to `until`."""
        positions = np.arange(self._n_output, max(until, self._n_output), dtype=np.int64) * self._down
        at, phase = positions // self._up, positions % self._up
        rows = (at - self._behind - self._input_start)[:, None] + np.arange(self._phases.shape[1])
        filtered = (self._input[rows] * self._phases[phase]).sum(axis=1)
        self._n_output = max(until, self._n_output)
        keep_from = (self._n_output * self._down) // self._up - self._behind
        self._input = self._input[max(0, keep_from - self._input_start) :]
        self._input_start = max(self._input_start, keep_from)
        return np.asarray(np.clip(np.rint(filtered * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE), np.int16)


def _polyphase(rate: int, up: int) -> tuple[npt.NDArray[np.float64], int, int]:
    """Return weights per phase, shape (up, taps), and the number of inputs `behind` and `ahead` of each position."""
    if rate == SAMPLE_RATE:
        return np.ones((1, 1)), 0, 0
    reach = math.floor(_HALF_LENGTH_S * rate)
    offsets = np.arange(-reach, reach + 1)
    # The tap of the input at `offset` for an output `phase/up` samples later: a windowed ideal low pass.
    distance = offsets[None, :] - np.arange(up)[:, None] / up
    window = np.i0(signal.kaiser_beta(_ATTENUATION_DB) * np.sqrt(np.maximum(0, 1 - (distance / (reach + 1)) ** 2)))
    weights = np.sinc(2 * _CUTOFF_HZ / rate * distance) * window
    return weights / weights.sum(axis=1, keepdims=True), reach, reach
