"""Repeats a stage's unit at call cadence or back to back, and notes what it took: times, parts, processor, memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from turngap_agent.clock import now_ns
from turngap_agent.parts import Recorder
from turngap_agent.stage.inputs import StageInput
from turngap_agent.stage.process import Usage
from turngap_agent.stage.units import UnitTimes, Work

CADENCE_S = (5.0, 8.0)
"""A call's turns come about so far apart: caches and clocks of the processor have cooled by then."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit that was measured."""

    given: StageInput
    times: UnitTimes
    recorder: Recorder
    start_ns: int


@dataclass(frozen=True, slots=True)
class Measured:
    """All units, and what the process used for them."""

    units: tuple[Unit, ...]
    before: Usage
    after: Usage
    most_threads: int
    """The most threads that the process had after any unit."""


def spread_cadence(index: int, cadence_s: tuple[float, float] | None) -> float:
    """Return how long after unit `index` began the next one begins: spread evenly, the same in every run; 0: at once.

    The places are multiples of the golden ratio modulo 1, so that any few of them are spread too.
    """
    if cadence_s is None:
        return 0.0
    low, high = cadence_s
    return low + (high - low) * (index * 0.618_033_988_749_895 % 1)


async def measure_units(
    work: Work,
    inputs: Sequence[StageInput],
    repeats: int,
    cadence_s: tuple[float, float] | None,
    make_recorder: Callable[[], Recorder] = Recorder,
) -> Measured:
    """Do `repeats` units, over the inputs in turn; `cadence_s` None: back to back."""
    units: list[Unit] = []
    before, most_threads = Usage.read(), 0
    for index in range(repeats):
        given, recorder, start_ns = inputs[index % len(inputs)], make_recorder(), now_ns()
        times = await work(given, recorder)
        units.append(Unit(given, times, recorder, start_ns))
        most_threads = max(most_threads, Usage.read().threads)
        if index + 1 < repeats:
            left_s = spread_cadence(index, cadence_s) - (now_ns() - start_ns) / 1e9
            if left_s > 0:
                await asyncio.sleep(left_s)
    return Measured(tuple(units), before, Usage.read(), most_threads)
