"""Where a series of figures changes: the most likely place, tested against all orders of the same figures. Pure.

A place is judged by how far the mean before it is from the mean after it, weighted by their numbers, inside an
interval around it; the largest over places and intervals is taken. Intervals of several lengths find a level that comes
and goes, too (seeded binary segmentation: Kovács, Bühlmann, Li and Munk 2023). Figures far from the middle are moved
closer, so that one bad day hides no change. The p-value is that of a permutation test, which needs no assumption but
that without a change every order of the figures is as likely as any other. The parts before and after a change are
searched again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SHORTEST = 3
"""Figures on each side of a change: two may be one bad day."""
LEVEL = 0.01
"""A change is marked where its p-value is below this."""
_ORDERS = 1_999
_SEED = 1
_FARTHEST = 8.0
"""Figures count as at most so many standard deviations of the noise away from their median."""
_UNANSWERED = 1e9
"""Stands for infinity, before it is moved closer."""
_NOISE_OF_DIFFERENCES = 1.0483
"""The standard deviation of normal figures over the median size of their differences: 1 / (sqrt(2) 0.6745)."""
Floats = npt.NDArray[np.float64]


def find_changes(values: Sequence[float]) -> tuple[int, ...]:
    """Return the places of changes, ascending: each is the index of the first figure that belongs to the new level.

    `values` may contain infinity, of a run most of whose turns were unanswered: it counts as far above all others.
    """
    rng = np.random.default_rng(_SEED)
    found: list[int] = []
    open_parts = [(0, len(values))]
    while open_parts:
        start, end = open_parts.pop()
        place = _find_one(np.asarray(values[start:end], np.float64), rng)
        if place is not None:
            found.append(start + place)
            open_parts += [(start, start + place), (start + place, end)]
    return tuple(sorted(found))


def _find_one(values: Floats, rng: np.random.Generator) -> int | None:
    """Return the place of the largest change, if it is one."""
    n = len(values)
    if n < 2 * SHORTEST:
        return None
    own = _bound(values)
    orders = np.vstack([own, rng.permuted(np.broadcast_to(own, (_ORDERS, n)), axis=1)])
    sums = np.concatenate([np.zeros((len(orders), 1)), np.cumsum(orders, axis=1)], axis=1)
    highest, place = np.zeros(len(orders)), 0
    for start, end in _list_intervals(n):
        distances = _measure(sums, start, end)
        best = int(np.argmax(distances[0]))
        if distances[0, best] > highest[0]:
            place = start + SHORTEST + best
        highest = np.maximum(highest, distances.max(axis=1))
    # Equal statistics of other orders differ by rounding.
    p = float((highest >= highest[0] - 1e-9).mean())
    return place if p < LEVEL else None


def _bound(values: Floats) -> Floats:
    """Return the figures less their median, none farther than `_FARTHEST` allows; without noise, as signs.

    The noise is that of neighbouring figures, which a few changes of level do not enlarge.
    """
    finite = values[np.isfinite(values)]
    away = np.where(np.isfinite(values), values, _UNANSWERED)
    away -= np.median(away)
    noise = float(np.median(np.abs(np.diff(finite)))) * _NOISE_OF_DIFFERENCES if len(finite) > 1 else 0.0
    bounded: Floats = np.clip(away, -_FARTHEST * noise, _FARTHEST * noise) if noise else np.sign(away)
    return bounded


def _list_intervals(n: int) -> list[tuple[int, int]]:
    """Return the whole, and intervals of half its length, a quarter and so on, each overlapping the next by a half."""
    intervals, length = [(0, n)], n // 2
    while length >= 2 * SHORTEST:
        starts = {round(step * length / 2) for step in range(2 * n // length)}
        intervals += [(start, start + length) for start in sorted(starts) if start + length <= n]
        length //= 2
    return intervals


def _measure(sums: Floats, start: int, end: int) -> Floats:
    """Return each row's distance for each place that leaves `SHORTEST` figures on both sides, shape (rows, places).

    `sums`: of each row's first 0, 1, 2 ... figures.
    """
    n = end - start
    before = np.arange(SHORTEST, n - SHORTEST + 1)
    of_before = sums[:, start + before] - sums[:, start, None]
    of_all = sums[:, end, None] - sums[:, start, None]
    distances: Floats = np.abs(of_before - before * of_all / n) / np.sqrt(before * (n - before) / n)
    return distances
