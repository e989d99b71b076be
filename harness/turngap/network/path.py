"""One direction of one call's network: the arrival times of what is sent. Pure; the same seed gives the same times.

Messages do not overtake one another: they travel on one TCP connection, so a late one delays all behind it. Losses
happen on the phone's leg, where audio travels in datagrams: whole frames are gone, and no message waits for them.
"""

from __future__ import annotations

import math
import random

import numpy as np
import numpy.typing as npt

from turngap.clock import NS_PER_MS
from turngap.network.profile import Direction

JITTER_QUANTILE = 0.99
"""`jitter_ms` is this quantile of the exponential delay, which is cut off there."""


class NetworkPath:
    """One direction of one call. Call its methods in the order of sending: it keeps state."""

    def __init__(self, direction: Direction, seed: int | str) -> None:
        self._direction = direction
        # One generator for each effect: the draws of one are the same whatever else the profile has.
        self._jitter, self._loss, self._duplicate, self._stall, phase = (
            random.Random(f"{seed}:{effect}") for effect in ("jitter", "loss", "duplicate", "stall", "burst")
        )
        self._phase = phase.random()
        self._stall_ns: tuple[int, int] | None = None
        self._last_arrival_ns = -(2**63)
        self._losing = False

    def frame_arrivals_ns(self, sent_ns: int) -> tuple[int, ...]:
        """Return when the frame sent at `sent_ns` arrives: () if it is lost, two times if it is duplicated.

        Never before `sent_ns` + `delay_ms`, and never before anything that was sent earlier.
        """
        if self._draw_loss():
            return ()
        arrival_ns = self.message_arrival_ns(sent_ns)
        is_duplicated = self._direction.duplicate and self._duplicate.random() < self._direction.duplicate
        return (arrival_ns, arrival_ns) if is_duplicated else (arrival_ns,)

    def message_arrival_ns(self, sent_ns: int) -> int:
        """Return when a message that is never lost or duplicated arrives, such as a control message."""
        direction = self._direction
        leaves_ns = self._end_of_burst_ns(self._end_of_stall_ns(sent_ns))
        transit_ns = (direction.delay_ms + self._draw_jitter_ms()) * NS_PER_MS
        self._last_arrival_ns = max(self._last_arrival_ns, leaves_ns + round(transit_ns))
        return self._last_arrival_ns

    def draw_losses(self, frames: int) -> npt.NDArray[np.bool_]:
        """Return which of the next `frames` frames of audio are lost, shape (frames,)."""
        return np.array([self._draw_loss() for _ in range(frames)], np.bool_)

    def _draw_loss(self) -> bool:
        """Draw independently, or from Gilbert's two states, entered so often that the share of losses stays `loss`."""
        loss, run = self._direction.loss, self._direction.loss_run
        if not loss:
            return False
        if run is None:
            return self._loss.random() < loss
        chance = 1 - 1 / run if self._losing else loss / (1 - loss) / run
        self._losing = self._loss.random() < chance
        return self._losing

    def _draw_jitter_ms(self) -> float:
        jitter_ms = self._direction.jitter_ms
        if not jitter_ms:
            return 0.0
        return min(jitter_ms, self._jitter.expovariate(-math.log(1 - JITTER_QUANTILE) / jitter_ms))

    def _end_of_stall_ns(self, at_ns: int) -> int:
        """Return the end of the stall that `at_ns` is in, or `at_ns`."""
        stall = self._direction.stall
        if stall is None:
            return at_ns
        lasts_ns = round(stall.lasts_ms * NS_PER_MS)
        start_ns, end_ns = self._stall_ns or (at_ns, at_ns)
        while at_ns >= end_ns:
            start_ns = end_ns + round(self._stall.expovariate(1 / stall.every_s) * 1e9)
            end_ns = start_ns + lasts_ns
        self._stall_ns = (start_ns, end_ns)
        return end_ns if at_ns >= start_ns else at_ns

    def _end_of_burst_ns(self, at_ns: int) -> int:
        """Return the next point of the burst grid, or `at_ns` without bursts."""
        burst = self._direction.burst
        if burst is None:
            return at_ns
        period_ns = max(1, round(burst.period_ms * NS_PER_MS))
        phase_ns = int(self._phase * period_ns)
        return at_ns + (phase_ns - at_ns) % period_ns
