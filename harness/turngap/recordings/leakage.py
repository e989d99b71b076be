"""Cross-talk: how much of one channel's sound is in the other, how late, and which frames that explains. Pure.

In spans in which one side alone is loud, the generalised cross-correlation with phase transform (Knapp and Carter, IEEE
TASSP 24, 1976) of the two channels has a sharp peak if the other channel carries the same sound, whatever the room does
to it. Its place is the delay; the attenuation is the median of the differences of the levels there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from turngap.recordings.power import FRAME_MS, Floats
from turngap.recordings.speech import Bools

RATE = 8000
SPAN_FRAMES, HOP_FRAMES, MOST_SPANS = 100, 50, 40
SPAN_SAMPLES = round(SPAN_FRAMES * FRAME_MS * RATE / 1000)
LOUD_BELOW_DB = 15.0
"""A frame within this of a channel's loud speech is loud."""
QUIETER_DB = 10.0
"""Leakage is at least so much quieter than its source; a louder sound is somebody's own."""
LEAST_LOUD, MOST_OWN = 0.2, 0.15
"""Shares of a span's frames: loud ones of the source at least, and at most frames of the other side's own sound."""
EARLIEST_MS, LATEST_MS = -20.0, 600.0
"""The delays that are looked for: between two microphones in a room, and of a loudspeaker's echo over a network."""
LEAST_PEAK = 7.0
"""Of the correlation's peak over its root mean square: among 5,000 lags of noise the largest is 4 in the median."""
MARGIN_DB = 8.0
"""A frame that is louder than the expected leakage by this is the channel's own."""
REVERBERATION_FRAMES = 6
"""Leakage outlasts its source by so much, in a room."""
LEAST_FRAMES = 20


@dataclass(frozen=True, slots=True)
class Leakage:
    """The sound of one channel in the other."""

    attenuation_db: float
    delay_ms: float
    """How much later it is there than on its own channel; under 0 where that channel is itself recorded later."""
    peak: float
    """The correlation's peak over its root mean square."""


def select_spans(source: Floats, other: Floats, loud_dbfs: float) -> list[int]:
    """Return the first frames of spans in which the source talks alone; `source` and `other` are levels, shape (n,)."""
    loud = source > loud_dbfs - LOUD_BELOW_DB
    own = other > source - QUIETER_DB
    starts = [
        first
        for first in range(0, len(source) - SPAN_FRAMES + 1, HOP_FRAMES)
        if loud[first : first + SPAN_FRAMES].mean() >= LEAST_LOUD
        and (own & loud)[first : first + SPAN_FRAMES].sum() <= MOST_OWN * loud[first : first + SPAN_FRAMES].sum()
    ]
    step = max(1, -(-len(starts) // MOST_SPANS))
    return starts[::step]


def measure_leakage(
    spans: Sequence[tuple[Floats, Floats]], source: Floats, other: Floats, floor: Floats, loud_dbfs: float
) -> Leakage | None:
    """Return the leakage of a source into another channel; None if there is none that can be told.

    Args:
        spans: The audio of both at 8 kHz in the selected spans, each shape (8000,): the source, the other.
        source: The source's levels, shape (n,).
        other: The other channel's levels, shape (n,).
        floor: The other channel's floor, shape (n,).
        loud_dbfs: The level of the source's loud speech.
    """
    if not spans:
        return None
    lag, peak = _correlate(spans)
    if peak < LEAST_PEAK:
        return None
    shifted = _shift(source, round(lag / FRAME_MS))
    counted = (shifted > loud_dbfs - LOUD_BELOW_DB) & (other < shifted - QUIETER_DB) & (other > floor + 6)
    if counted.sum() < LEAST_FRAMES:
        return None
    return Leakage(float(np.median((shifted - other)[counted])), lag, peak)


def mark_leaked(source: Floats, other: Floats, leakage: Leakage) -> Bools:
    """Return for each frame of the other channel whether the source explains its level; shape (n,)."""
    shifted = _shift(source, round(leakage.delay_ms / FRAME_MS))
    expected = ndimage.maximum_filter1d(shifted, REVERBERATION_FRAMES, origin=REVERBERATION_FRAMES // 2 - 2)
    leaked: Bools = other < expected - leakage.attenuation_db + MARGIN_DB
    return leaked


def _correlate(spans: Sequence[tuple[Floats, Floats]]) -> tuple[float, float]:
    """Return the lag of the peak in ms, and the peak over the root mean square."""
    size = 2 * SPAN_SAMPLES
    band = (np.fft.rfftfreq(size, 1 / RATE) > 300) & (np.fft.rfftfreq(size, 1 / RATE) < 3400)
    total: npt.NDArray[np.complex128] = np.zeros(size // 2 + 1, np.complex128)
    for source, other in spans:
        cross = np.fft.rfft(other, size) * np.conj(np.fft.rfft(source, size))
        total += np.where(band, cross / np.maximum(np.abs(cross), 1e-20), 0)
    lags = np.fft.irfft(total, size)
    first, last = round(EARLIEST_MS * RATE / 1000), round(LATEST_MS * RATE / 1000)
    searched = np.abs(np.concatenate([lags[first:], lags[:last]]))
    at = int(np.argmax(searched))
    root = float(np.sqrt(np.mean(np.square(searched))))
    return (at + first) * 1000 / RATE, float(searched[at]) / root if root else 0.0


def _shift(levels: Floats, frames: int) -> Floats:
    """Return the levels so much later; those before the start are silent."""
    if frames == 0:
        return levels
    silence = np.full(min(abs(frames), len(levels)), np.float32(-120.0))
    return np.concatenate([silence, levels[:-frames]]) if frames > 0 else np.concatenate([levels[-frames:], silence])
