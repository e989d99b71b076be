"""Follows how loud the caller's line is when nobody speaks on it: the quietest stretch of the last seconds. Pure.

The idea is that of minimum statistics (R. Martin, *Noise power spectral density estimation based on optimal smoothing
and minimum statistics*, 2001): speech pauses now and then, so the minimum of the smoothed level over some seconds is
the noise's. Here the smoothing is a plain mean of the power of whole windows. Hum, hiss and steady noise
are the floor after one such stretch; music and voices move too much to be, and speech is never so even and so faint.
"""

from __future__ import annotations

import math
from collections import deque

SMOOTHED_WINDOWS = 4
"""128 ms: longer than the closures inside words, shorter than a breath."""
REMEMBERED_WINDOWS = 156
"""5 s: most speakers pause for 128 ms within it."""

FAINTEST_DBFS = -72.0
"""The level of the smallest step of μ-law (8 of 32,768): what is fainter is no more than the codec's rounding."""


class NoiseFloor:
    """The floor of one call's line, from the levels of its 32 ms windows; memory and work a window are bounded."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=SMOOTHED_WINDOWS)
        self._count = 0
        self._minima: deque[tuple[int, float]] = deque()
        """Number and smoothed level of the windows that may still be the minimum, rising (a monotonic queue)."""

    def push(self, level_dbfs: float) -> None:
        """Take the level of the next window."""
        self._recent.append(level_dbfs)
        self._count += 1
        if len(self._recent) < SMOOTHED_WINDOWS:
            return
        smoothed = 10 * math.log10(math.fsum(10 ** (level / 10) for level in self._recent) / SMOOTHED_WINDOWS)
        while self._minima and self._minima[-1][1] >= smoothed:
            self._minima.pop()
        self._minima.append((self._count, smoothed))
        while self._minima[0][0] <= self._count - REMEMBERED_WINDOWS:
            self._minima.popleft()

    @property
    def level_dbfs(self) -> float:
        """The quietest stretch's level; −infinity before there was one."""
        return self._minima[0][1] if self._minima else -math.inf
