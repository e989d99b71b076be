"""What a stage's process writes down for a trace."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
from turngap_agent.parts import Recorder, part
from turngap_agent.stage.inputs import StageInput
from turngap_agent.stage.measurement import measure_units
from turngap_agent.stage.trace import start_trace, write_units
from turngap_agent.stage.units import UnitTimes
from turngap_agent.tracing import OUTPUT_FOLDER, STACK_RING, STAGE_PARTS


async def work(given: StageInput, recorder: Recorder) -> UnitTimes:
    """A unit of two parts."""
    with recorder.record() as lane:
        with part("encoder"):
            await asyncio.sleep(0)
        with part("decoder"):
            await asyncio.sleep(0)
    return UnitTimes(first_ms=lane.took_ms, whole_ms=lane.took_ms, steps_ms=(), audio_s=None)


async def measure(given: StageInput, environment: dict[str, str]) -> None:
    watch = start_trace(environment)
    measured = await measure_units(work, [given], 2, None)
    if watch is not None:
        await watch.stop()
    write_units(measured.units, environment)


def test_units_and_their_parts_are_written_down(tmp_path: Path) -> None:
    """Each part inside its unit, on one clock; the stacks are beside them."""
    given = StageInput("hello", "hello", np.zeros(8, np.float32))
    asyncio.run(measure(given, {OUTPUT_FOLDER: str(tmp_path)}))
    lines = [json.loads(line) for line in (tmp_path / STAGE_PARTS).read_text().splitlines()]
    units = [line for line in lines if "unit" in line]
    assert [line["unit"] for line in units] == ["hello", "hello"]
    assert [line["part"] for line in lines if "part" in line] == ["encoder", "decoder"] * 2
    encoder = lines[1]
    assert units[0]["start_ns"] <= encoder["start_ns"] <= encoder["end_ns"] <= units[1]["start_ns"]
    assert (tmp_path / STACK_RING).exists()


def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    """No trace was asked for."""
    asyncio.run(measure(StageInput("hello", "hello", np.zeros(8, np.float32)), {}))
    assert list(tmp_path.iterdir()) == []
