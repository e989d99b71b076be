"""Figures of a series of times: median with its interval, 95th percentile, and whether two series agree; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
CONFIDENCE = 0.95
LEAST = 5
"""With fewer values the bootstrap's interval covers far too little, and none is given."""
RESOLUTION_MS = 0.05
"""Medians that differ by less are the same: a unit of some 0.02 ms takes half or twice as long in another process."""


def summarise(values_ms: Sequence[float]) -> dict[str, Any] | None:
    """Return n, p50 with its interval, and p95 (nearest rank) of times; None for no times.

    The interval is the percentile bootstrap's of the median (Efron and Tibshirani 1993, 13.3). p95 has none: the
    bootstrap's covers too little at its end of a short series.
    """
    if not values_ms:
        return None
    ordered = sorted(values_ms)
    interval = find_median_interval(values_ms)
    return {
        "n": len(ordered),
        "p50": float(np.median(ordered)),
        "p50_interval": None if interval is None else list(interval),
        "p95": ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)],
    }


def find_median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Return the interval of the median; None for fewer than `LEAST` values."""
    if len(values) < LEAST:
        return None
    return _interval(_medians(np.asarray(values, float), 0), confidence)


def agree(one: Sequence[float], other: Sequence[float], confidence: float = CONFIDENCE) -> bool:
    """Return whether the medians of two series may be the same: whether the interval of their ratio includes 1.

    Or whether they differ by less than `RESOLUTION_MS`, which no interval of one process shows.

    Raises:
        ValueError: a series is shorter than `LEAST`, or has a time of 0.
    """
    if min(len(one), len(other)) < LEAST or min(*one, *other) <= 0:
        raise ValueError(f"two series of at least {LEAST} times over 0 are needed")
    if abs(np.median(one) - np.median(other)) < RESOLUTION_MS:
        return True
    ratios = _medians(np.asarray(one, float), 1) / _medians(np.asarray(other, float), 2)
    low, high = _interval(ratios, confidence)
    return low <= 1 <= high


def _medians(values: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    places = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    medians: npt.NDArray[np.float64] = np.median(values[places], axis=1)
    return medians


def _interval(estimates: npt.NDArray[np.float64], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(estimates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
