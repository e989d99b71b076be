"""The parts of the units that were measured, and whether they add up to the whole; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from turngap_agent.parts import HAND_OVER, HasParts
from turngap_agent.stage.measurement import Unit

TOLERANCE = 0.02
"""By so much of the whole the sum of the parts may differ from it."""


@dataclass(frozen=True, slots=True)
class Split:
    """The mean time of a unit in each part, ms; or why there is none."""

    parts_ms: dict[str, float] | None
    whole_ms: float
    covered: float | None
    """The sum of the parts, as a share of the whole."""
    note: str = ""


def split_times(engine: Any, name: str, units: Sequence[Unit]) -> Split:
    """Return the parts of the units on `engine`, which messages call `name`.

    Means, since means of parts add up to the mean of the whole; percentiles do not.
    """
    whole_ms = float(np.mean([unit.times.whole_ms for unit in units]))
    if not isinstance(engine, HasParts):
        return Split(None, whole_ms, None, f"{name} has no parts: it does not mark any")
    sums_ms = dict.fromkeys((*engine.parts, HAND_OVER), 0.0)
    for unit in units:
        for part, took_ns in unit.recorder.total_ns().items():
            sums_ms[part] = sums_ms.get(part, 0.0) + took_ns / 1e6
    parts_ms = {part: total / len(units) for part, total in sums_ms.items()}
    covered = sum(parts_ms.values()) / whole_ms if whole_ms else 1.0
    if abs(covered - 1) > TOLERANCE:
        note = f"the parts add up to {100 * covered:.1f} % of the whole, which is not within {100 * TOLERANCE:.0f} %"
        return Split(None, whole_ms, covered, note)
    return Split(parts_ms, whole_ms, covered)
