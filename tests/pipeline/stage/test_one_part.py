"""A delay or a doubled model in one part of an engine: where a measured stage shows it, from engine to floor."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from turngap_agent import clock, parts, worker
from turngap_agent.device.work import PartWork
from turngap_agent.parts import Shape
from turngap_agent.stage import measurement
from turngap_agent.stage.floor import MachineRates, describe_floor
from turngap_agent.stage.inputs import StageInput
from turngap_agent.stage.measurement import measure_units
from turngap_agent.stage.split import split_times
from turngap_agent.stage.units import make_work
from turngap_agent.stt import AudioF32, Transcript

MS = 1_000_000
PARTS = ("mel", "encoder", "decoder")
RATES = MachineRates(10e9, None, None, {"float32": 50e9})
GIVEN = StageInput("hello", "hello", np.zeros(8_000, np.float32))


class Engine:
    """A recogniser whose parts take 10 ms of a clock that only it moves, and 10 ms more for each model it has again."""

    parts = PARTS

    def __init__(self, now: list[int], delays_ms: Mapping[str, int], models: Mapping[str, int]) -> None:
        self._now, self._delays_ms, self._models = now, delays_ms, models
        self._executor = worker.make_thread("stt")

    def count_work(self, shapes: Sequence[Shape]) -> Mapping[str, PartWork]:
        """40 MB and 0.1 G operations of each model: 4 ms by bytes at these rates."""
        times = {shape.part: shape.value for shape in shapes}
        return {
            part: PartWork(40_000_000 * times[part], 40_000_000 * times[part], {"float32": 100_000_000 * times[part]})
            for part in ("encoder", "decoder")
        }

    async def transcribe(self, audio: AudioF32) -> Transcript:
        """Do the parts one after the other."""
        return await worker.run(self._executor, self._transcribe)

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown()

    def _transcribe(self) -> Transcript:
        for name in PARTS:
            with parts.part(name):
                models = self._models.get(name, 1)
                parts.note_shape("models", models)
                self._now[0] += (10 * models + self._delays_ms.get(name, 0)) * MS
        return Transcript("hello", 1.0)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The agent's clock in ns; the engine moves it."""
    times = [0]
    for module in (clock, measurement):
        monkeypatch.setattr(module, "now_ns", lambda: times[0])
    return times


def measure(
    now: list[int], *, delays_ms: Mapping[str, int] | None = None, models: Mapping[str, int] | None = None
) -> tuple[dict[str, float], dict[str, Any]]:
    """The parts' times in ms, and the floor."""
    engine = Engine(now, delays_ms or {}, models or {})
    measured = asyncio.run(measure_units(make_work("stt", engine), [GIVEN], 3, None))
    engine.close()
    split = split_times(engine, "engine", measured.units)
    assert split.parts_ms is not None, split.note
    assert split.covered == 1.0
    floor = describe_floor([(unit, engine.count_work(unit.recorder.shapes)) for unit in measured.units], RATES)
    assert floor is not None
    return split.parts_ms, floor


@pytest.mark.parametrize("slow", PARTS)
def test_a_delay_is_in_its_part_and_in_the_distance_and_nowhere_else(now: list[int], slow: str) -> None:
    """No floor moves; of the parts only the slow one's time, and its distance if it has a floor."""
    parts_ms, floor = measure(now)
    slow_ms, slow_floor = measure(now, delays_ms={slow: 6})
    assert slow_ms == parts_ms | {slow: parts_ms[slow] + 6}
    assert (slow_floor["ms"], floor["ms"]) == (8.0, 8.0)
    assert slow_floor["distance"] == pytest.approx(floor["distance"] + 6 / 8)
    for name, part in slow_floor["parts"].items():
        expected = floor["parts"][name]["distance"] + (6 / 4 if name == slow else 0)
        assert part["distance"] == pytest.approx(expected)


@pytest.mark.parametrize("doubled", ["encoder", "decoder"])
def test_a_doubled_model_is_in_its_parts_time_and_floor_and_nowhere_else(now: list[int], doubled: str) -> None:
    """It takes twice as long and must: no part is farther from its floor, and the whole is as near as its parts."""
    parts_ms, floor = measure(now)
    twice_ms, twice = measure(now, models={doubled: 2})
    assert twice_ms == parts_ms | {doubled: 2 * parts_ms[doubled]}
    assert twice["ms"] == pytest.approx(floor["ms"] + 4)
    assert twice["distance"] == pytest.approx(40 / 12)
    for name, part in twice["parts"].items():
        times = 2 if name == doubled else 1
        assert part["floor_ms"] == pytest.approx(times * floor["parts"][name]["floor_ms"])
        assert part["distance"] == pytest.approx(floor["parts"][name]["distance"])
