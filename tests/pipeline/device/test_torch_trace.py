"""A unit under torch's profiler: the operations of the engine's own thread, and marks of the host's clock."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")

import numpy as np
from turngap_agent import parts, worker
from turngap_agent.parts import Recorder
from turngap_agent.stage.inputs import StageInput
from turngap_agent.stage.torch_trace import record_unit
from turngap_agent.stage.units import UnitTimes
from turngap_agent.tracing import TORCH_CLOCK

GIVEN = StageInput("hello", "hello", np.zeros(8, np.float32))


def test_the_work_of_the_engines_thread_is_recorded_on_a_known_clock(tmp_path: Path) -> None:
    """The thread was there before the profiler; its products lie inside the part that did them, by the marks."""
    executor = worker.make_thread("tts")
    matrix = torch.ones(64, 64)

    def multiply() -> None:
        with parts.part("backbone"):
            for _ in range(3):
                torch.mm(matrix, matrix)

    async def work(given: StageInput, recorder: Recorder) -> UnitTimes:
        with recorder.record() as lane:
            await worker.run(executor, multiply)
        return UnitTimes(lane.took_ms, lane.took_ms)

    async def record() -> list[parts.Slice]:
        await work(GIVEN, Recorder())
        measured = await record_unit(work, GIVEN, tmp_path / "torch.json", on_gpu=False)
        return measured.units[0].recorder.slices

    slices = asyncio.run(record())
    executor.shutdown()
    events = json.loads((tmp_path / "torch.json").read_text())["traceEvents"]
    marks = [event for event in events if event.get("ph") == "X" and event["name"].startswith(TORCH_CLOCK)]
    assert len(marks) == 2
    shift_us = max(int(mark["name"].removeprefix(TORCH_CLOCK)) / 1000 - mark["ts"] for mark in marks)
    products = [event for event in events if event.get("name") == "aten::mm"]
    assert len(products) == 3
    (backbone,) = [one for one in slices if one.part == "backbone"]
    for product in products:
        start_ns = (product["ts"] + shift_us) * 1000
        assert backbone.start_ns - 100_000 <= start_ns <= backbone.end_ns + 100_000
