"""Finds known audio in a recording by normalised cross-correlation, to the sample. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal
from turngap_agent.telephony import SAMPLE_RATE

from turngap.model.records import Pcm16

MIN_SCORE = 0.35
"""A match needs at least this score. Two passes of μ-law cost a few hundredths; another codec costs more."""
LONGEST_SAMPLES = SAMPLE_RATE
"""The end of an utterance is found by its last second, too short for clocks to drift apart."""


@dataclass(frozen=True, slots=True)
class Match:
    """The position of known audio in a recording."""

    at: int
    """The sample of the recording at which the known audio starts."""
    score: float
    """Normalised correlation, 0 to 1."""


def find_match(known: Pcm16, audio: Pcm16, least: float = MIN_SCORE) -> Match | None:
    """Find `known`, shape (n,), in `audio`, shape (m,); return None if no position scores at least `least`.

    The score is the absolute inner product over both norms, 0 to 1 (Cauchy-Schwarz): a line that inverts the sign
    matches too.
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
    # In silence a rounding error would otherwise be divided by another.
    floor = norm * 1e-3
    scores = np.abs(products) / (norm * np.maximum(window, floor))
    best = int(np.argmax(scores))
    score = min(1.0, float(scores[best]))
    return Match(best, score) if score >= least else None


def find_end(known: Pcm16, audio: Pcm16, least: float = MIN_SCORE) -> int | None:
    """Return the sample of `audio` after the last one of `known`, found by its last second; None without a match."""
    tail = known[-LONGEST_SAMPLES:]
    match = find_match(tail, audio, least)
    return None if match is None else match.at + len(tail)
