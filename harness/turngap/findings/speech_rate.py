"""Speech that is played at the wrong speed: audio of 16 or 24 kHz sent as 8 kHz, or of 4 kHz. Pure.

Slow speech has the pitch of nobody, or nothing over 2 kHz, or a low pitch with vowels that are lower still, or with a
spectrum that changes too slowly; fast speech has a pitch over that of children. A high voice at half speed, from audio
with a wide band, has the pitch of a low one: its vowels and its pace give it away, and not always.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from turngap.model.finding import Finding, FindingKind
from turngap.model.records import Pcm16

Sound = npt.NDArray[np.float64]

WINDOW, HOP = 800, 160
LEAST_VOICED = 40
"""Voiced windows, 20 ms apart."""
VOICED = 0.6
"""Autocorrelation of a voiced window at its period."""
LOW_PITCH_HZ, HIGH_PITCH_HZ = 76.0, 310.0
"""Medians of people's pitch lie between about 85 and 260 Hz."""
NARROW_HZ = 700.0
"""95 % of the power of most windows of slow speech lies below."""
HIGH_BAND_DB = -31.0
"""The power over 2 kHz beside that below: over -28 dB in speech of the telephone's band."""
LOW_VOICE_HZ, LOW_VOWELS_HZ = 135.0, 450.0
"""The lowest voices have 95 % of the power of most windows below 590 Hz, high ones at half speed below 280 to 380."""
SLOW_PITCH, SLOW_BAND, SLOW_CHANGE, MOST_SLOW = (7.37, 0.51, -1.61), (9.97, 0.79, -0.32), (1.73, 0.27, -1.24), 4.0
"""(mean, deviation, weight) of pitch, band and pace, all as log2, in a logistic regression on 26 talkers at 16 kHz,
resampled to 8 kHz or played as 8 kHz. The largest of natural speed had 3.6, leaving each out in turn."""
_PACE_BANDS, _PACE_FROM_HZ, _PACE_TO_HZ, _PACE_RATES_HZ = 12, 150.0, 3600.0, (1.0, 25.0)
PITCH_SPREAD = 0.03
"""Speech glides by more, in octaves between the quartiles; tones do not ..."""
FAST_SPREAD = 0.85
"""... and high voices by less: cries, and sound whose period is not found, by an octave and more."""
VOICED_SHARE = (0.2, 0.95)
"""Speech has consonants: music and tones are periodic throughout."""
_LONGEST = 160_000


def find_rate_faults(replies: Sequence[Pcm16]) -> list[Finding]:
    """Return whether the replies of a call, (n,) samples each, are played too slowly or too fast."""
    sound = np.concatenate([np.empty(0, np.int16), *replies])[:_LONGEST].astype(np.float64)
    loud = _loud_windows(sound)
    if len(loud) < LEAST_VOICED:
        return []
    pitches, rolloffs = _measure_voiced(loud)
    share = len(pitches) / len(loud)
    if len(pitches) < LEAST_VOICED or not VOICED_SHARE[0] <= share <= VOICED_SHARE[1]:
        return []
    low, pitch_hz, high = np.percentile(pitches, [25, 50, 75])
    if np.log2(high / low) < PITCH_SPREAD:
        return []
    narrow = float(np.percentile(rolloffs, 80)) < NARROW_HZ
    if (
        (narrow and (pitch_hz < LOW_PITCH_HZ or _high_band_db(loud) < HIGH_BAND_DB))
        or (pitch_hz < LOW_VOICE_HZ and float(np.percentile(rolloffs, 80)) < LOW_VOWELS_HZ)
        or (pitch_hz >= LOW_PITCH_HZ and _slowness(sound, pitch_hz, float(np.percentile(rolloffs, 80))) > MOST_SLOW)
    ):
        return [Finding(kind=FindingKind.SLOW, count=len(replies), value=round(float(pitch_hz), 1))]
    if pitch_hz > HIGH_PITCH_HZ and np.log2(high / low) < FAST_SPREAD:
        return [Finding(kind=FindingKind.FAST, count=len(replies), value=round(float(pitch_hz), 1))]
    return []


def _loud_windows(sound: Sound) -> Sound:
    """Return the windows within 20 dB of the loudest, shape (m, WINDOW)."""
    if len(sound) < WINDOW:
        return np.empty((0, WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    power = np.square(windows).mean(axis=1)
    loud: Sound = windows[power > max(float(np.percentile(power, 95)) / 100, 10_000.0)]
    centred: Sound = loud - loud.mean(axis=1, keepdims=True)
    return centred


def _measure_voiced(windows: Sound) -> tuple[Sound, Sound]:
    """Return the pitch (Hz) and the frequency below which 95 % of the power lies, of each voiced window."""
    spectra = np.square(np.abs(np.fft.rfft(windows, 2 * WINDOW)))
    periods = np.fft.irfft(spectra)[:, :321]
    periods = periods / (periods[:, :1] + 1e-9) / (1 - np.arange(321) / WINDOW)
    inner = periods[:, 16:320]
    peaks = (inner >= periods[:, 15:319]) & (inner >= periods[:, 17:321]) & (inner >= 0.85 * inner.max(1)[:, None])
    voiced = (inner.max(axis=1) >= VOICED) & peaks.any(axis=1)
    pitches = 8000 / (16 + peaks[voiced].argmax(axis=1))
    power = np.square(np.abs(np.fft.rfft(windows[voiced] * np.hanning(WINDOW))))
    below = np.cumsum(power, axis=1) / (power.sum(axis=1, keepdims=True) + 1e-9)
    return pitches, (below >= 0.95).argmax(axis=1) * (8000 / WINDOW)


def _high_band_db(windows: Sound) -> float:
    power = np.square(np.abs(np.fft.rfft(windows * np.hanning(WINDOW)))).sum(axis=0)
    hertz = np.arange(len(power)) * (8000 / WINDOW)
    high, low = (
        power[(hertz > first) & (hertz < beyond)].sum() for first, beyond in ((2000.0, 3600.0), (200.0, 2000.0))
    )
    return float(10 * np.log10((high + 1e-9) / (low + 1e-9)))


def _slowness(sound: Sound, pitch_hz: float, band_hz: float) -> float:
    """Return how slow speech sounds: the log odds of half its speed, but for their constant."""
    values = np.log2([pitch_hz, max(band_hz, 1.0), _measure_pace(sound)])
    terms = zip(values, (SLOW_PITCH, SLOW_BAND, SLOW_CHANGE), strict=True)
    return float(sum(weight * (value - mean) / deviation for value, (mean, deviation, weight) in terms))


def _measure_pace(sound: Sound) -> float:
    """Return how fast the spectrum of speech changes, Hz: the geometric mean frequency of its bands' modulation."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 200)[::80]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(200), 256)))
    hertz = np.fft.rfftfreq(256, 1 / 8000)
    edges = np.geomspace(_PACE_FROM_HZ, _PACE_TO_HZ, _PACE_BANDS + 1)
    bands = np.stack([power[:, (hertz >= low) & (hertz < high)].sum(axis=1) for low, high in pairwise(edges)], axis=1)
    levels = 10 * np.log10(bands + 1e-3 * bands.max())
    levels -= levels.mean(axis=0)
    changes = np.square(np.abs(np.fft.rfft(levels * np.hanning(len(levels))[:, None], axis=0))).sum(axis=1)
    rates = np.fft.rfftfreq(len(levels), 0.01)
    kept = (rates >= _PACE_RATES_HZ[0]) & (rates <= _PACE_RATES_HZ[1])
    return float(np.exp((np.log(rates[kept]) * changes[kept]).sum() / (changes[kept].sum() + 1e-9)))
