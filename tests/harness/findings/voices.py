"""A made-up talker at any sampling rate: a gliding pitch, three formants, and consonants of noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from turngap.model.records import Pcm16

Sound = npt.NDArray[np.float64]
_FORMANTS_HZ, _WIDTHS_HZ = (550.0, 1500.0, 2500.0), (80.0, 120.0, 160.0)


def talk(rate: int, pitch_hz: float, seconds: float = 4.0, *, hiss_s: float = 0.16) -> Pcm16:
    """Return speech-like sound, shape (seconds * rate,), at about -15 dBFS: vowels of 220 ms, noise between them."""
    rng = np.random.default_rng(1)
    at_s = np.arange(round(seconds * rate)) / rate
    pitches_hz = pitch_hz * 2 ** (0.25 * np.sin(2 * np.pi * 0.7 * at_s))
    phase = np.cumsum(pitches_hz / rate)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    spectrum = np.fft.rfft(pulses)
    hertz = np.fft.rfftfreq(len(pulses), 1 / rate)
    gain = sum(
        (width / np.hypot(hertz - formant, width) / 2**place)
        for place, (formant, width) in enumerate(zip(_FORMANTS_HZ, _WIDTHS_HZ, strict=True))
    )
    tilt = 1 / (1 + np.square(hertz / 400))
    vowel = _level(np.fft.irfft(spectrum * gain * tilt, len(pulses)), 0.18)
    hiss = _level(np.diff(rng.standard_normal(len(pulses)), prepend=0.0), 0.025)
    is_vowel = at_s % (0.22 + hiss_s) < 0.22
    return np.clip(np.where(is_vowel, vowel, hiss) * 32_768, -32_000, 32_000).astype(np.int16)


def _level(sound: Sound, rms: float) -> Sound:
    levelled: Sound = sound * (rms / np.sqrt(np.mean(np.square(sound))))
    return levelled
