"""Where known audio lies in a recording: normalised cross-correlation, to the sample. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal
from turngap_agent.telephony import SAMPLE_RATE

from turngap.model.records import Pcm16

MIN_SCORE = 0.35
"""Less alike is not found. Two passes of μ-law cost a few hundredths; another codec more."""
LONGEST_SAMPLES = SAMPLE_RATE
"""The last second of an utterance settles its end, and clocks do not drift apart in it."""


@dataclass(frozen=True, slots=True)
class Match:
    """Where the known audio lies."""

    at: int
    """Its first sample in the recording."""
    score: float
    """Normalised correlation, 0 to 1."""


def find(known: Pcm16, audio: Pcm16, least: float = MIN_SCORE) -> Match | None:
    """`known`, shape (n,), in `audio`, shape (m,); None where nothing in it is alike enough.

    The score at a place is the inner product over both norms (Cauchy-Schwarz bounds it by 1); a pass with its sign
    turned round counts as alike.
    """
    if len(known) == 0 or len(audio) < len(known):
        return None
    template, sound = known.astype(np.float64), audio.astype(np.float64)
    norm = float(np.sqrt(np.sum(template**2)))
    if norm == 0:
        return None
    products = signal.correlate(sound, template, mode="valid", method="fft")
    power = np.concatenate([[0.0], np.cumsum(sound**2)])
    window = np.sqrt(np.maximum(power[len(known) :] - power[: -len(known)], 0))
    # Where there is next to no sound a rounding error would be divided by another.
    floor = norm * 1e-3
    scores = np.abs(products) / (norm * np.maximum(window, floor))
    best = int(np.argmax(scores))
    score = min(1.0, float(scores[best]))
    return Match(best, score) if score >= least else None


def find_end(known: Pcm16, audio: Pcm16, least: float = MIN_SCORE) -> int | None:
    """The sample after `known`'s last one in `audio`, found by its last second; None where it is not found."""
    tail = known[-LONGEST_SAMPLES:]
    match = find(tail, audio, least)
    return None if match is None else match.at + len(tail)
