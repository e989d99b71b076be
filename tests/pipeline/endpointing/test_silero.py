"""Silero's calling convention, on a stand-in for the model: context, state and windows; no weights needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from turngap_agent.endpointing.silero.engine import SileroDetector


class Recorder:
    """Stands in for the session: records its inputs, counts in its state."""

    def __init__(self) -> None:
        self.inputs: list[dict[str, Any]] = []

    def run(self, outputs: None, inputs: dict[str, Any]) -> list[Any]:
        self.inputs.append(inputs)
        return [np.array([[0.5]], np.float32), inputs["state"] + 1]


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def push_all(recorder: Recorder, executor: ThreadPoolExecutor, *frames: np.ndarray[Any, Any]) -> list[int]:
    async def push() -> list[int]:
        detector = SileroDetector(recorder, executor)
        return [voicing.end_sample for frame in frames for voicing in await detector.push(frame)]

    return asyncio.run(push())


def test_a_window_carries_the_end_of_the_one_before(executor: ThreadPoolExecutor) -> None:
    """288 samples: the 32 before the window, zeros at the start of the call, then its own 256."""
    recorder = Recorder()
    stream = np.arange(1, 801, dtype=np.int16)
    assert push_all(recorder, executor, *np.split(stream, 5)) == [256, 512, 768]
    padded = np.concatenate([np.zeros(32), stream / 32_768]).astype(np.float32)
    for index, given in enumerate(recorder.inputs):
        np.testing.assert_array_equal(given["input"], padded[None, index * 256 : index * 256 + 288])
        assert given["input"].dtype == np.float32
        assert int(given["sr"]) == 8000


def test_the_state_goes_from_window_to_window(executor: ThreadPoolExecutor) -> None:
    """What the model returns as state it gets back, from zeros, also across frames."""
    recorder = Recorder()
    push_all(recorder, executor, np.zeros(512, np.int16), np.zeros(256, np.int16))
    assert [float(given["state"].mean()) for given in recorder.inputs] == [0, 1, 2]


def test_calls_do_not_share_state(executor: ThreadPoolExecutor) -> None:
    """A second call begins from nothing."""
    recorder = Recorder()
    push_all(recorder, executor, np.full(256, 1000, np.int16))
    push_all(recorder, executor, np.full(256, 1000, np.int16))
    first, second = recorder.inputs
    np.testing.assert_array_equal(first["input"], second["input"])
    np.testing.assert_array_equal(first["state"], second["state"])
