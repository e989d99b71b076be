"""One direction of one call's network: when what was sent arrives. Pure, and the same again for the same seed.

Nothing overtakes: messages travel on one TCP connection, so one that is late holds up all behind it. What is lost was
lost on the phone's leg, where audio travels in datagrams: whole frames are gone, and nothing waits for them.
"""

from __future__ import annotations

import math
import random

import numpy as np
import numpy.typing as npt

from turngap.clock import NS_PER_MS
from turngap.network.profile import Direction

JITTER_QUANTILE = 0.99
"""`jitter_ms` is this quantile of the exponential delay that is cut off there."""


class Path:
    """One direction of one call. Ask in the order of sending: it remembers what went before."""

    def __init__(self, direction: Direction, seed: int | str) -> None:
        self._direction = direction
        # A generator each: what one of them does is the same whatever else the profile has.
        self._jitter, self._loss, self._double, self._stall, phase = (
            random.Random(f"{seed}:{what}") for what in ("jitter", "loss", "duplicate", "stall", "burst")
        )
        self._phase = phase.random()
        self._stall_ns: tuple[int, int] | None = None
        self._last_ns = -(2**63)
        self._losing = False

    def arrivals_ns(self, sent_ns: int) -> tuple[int, ...]:
        """When the frame that was sent at `sent_ns` arrives: () if it is lost, two times if it arrives twice.

        Never before `sent_ns` + `delay_ms`, and never before anything that was sent earlier.
        """
        if self._is_lost():
            return ()
        arrival_ns = self.arrival_ns(sent_ns)
        double = self._direction.duplicate and self._double.random() < self._direction.duplicate
        return (arrival_ns, arrival_ns) if double else (arrival_ns,)

    def arrival_ns(self, sent_ns: int) -> int:
        """When something arrives that is never lost and never doubled: a control message, a message of any length."""
        direction = self._direction
        leaves_ns = self._released_ns(self._unstalled_ns(sent_ns))
        took_ns = (direction.delay_ms + self._jitter_ms()) * NS_PER_MS
        self._last_ns = max(self._last_ns, leaves_ns + round(took_ns))
        return self._last_ns

    def losses(self, frames: int) -> npt.NDArray[np.bool_]:
        """Which of the next `frames` frames of audio are lost, shape (frames,)."""
        return np.array([self._is_lost() for _ in range(frames)], np.bool_)

    def _is_lost(self) -> bool:
        """Drawn independently, or by Gilbert's two states, entered so often that the share of losses stays `loss`."""
        loss, run = self._direction.loss, self._direction.loss_run
        if not loss:
            return False
        if run is None:
            return self._loss.random() < loss
        chance = 1 - 1 / run if self._losing else loss / (1 - loss) / run
        self._losing = self._loss.random() < chance
        return self._losing

    def _jitter_ms(self) -> float:
        jitter_ms = self._direction.jitter_ms
        if not jitter_ms:
            return 0.0
        return min(jitter_ms, self._jitter.expovariate(-math.log(1 - JITTER_QUANTILE) / jitter_ms))

    def _unstalled_ns(self, at_ns: int) -> int:
        stall = self._direction.stall
        if stall is None:
            return at_ns
        lasts_ns = round(stall.lasts_ms * NS_PER_MS)
        begins_ns, ends_ns = self._stall_ns or (at_ns, at_ns)
        while at_ns >= ends_ns:
            begins_ns = ends_ns + round(self._stall.expovariate(1 / stall.every_s) * 1e9)
            ends_ns = begins_ns + lasts_ns
        self._stall_ns = (begins_ns, ends_ns)
        return ends_ns if at_ns >= begins_ns else at_ns

    def _released_ns(self, at_ns: int) -> int:
        burst = self._direction.burst
        if burst is None:
            return at_ns
        period_ns = max(1, round(burst.period_ms * NS_PER_MS))
        phase_ns = int(self._phase * period_ns)
        return at_ns + (phase_ns - at_ns) % period_ns
