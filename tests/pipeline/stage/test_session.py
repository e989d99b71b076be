"""In which order a stage is measured: what would disturb a figure comes after it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from turngap_agent import profile
from turngap_agent.health.loop_watch import LoopWatch
from turngap_agent.stage import session
from turngap_agent.stage.command import StageOptions
from turngap_agent.stage.inputs import StageInput
from turngap_agent.tracing import OUTPUT_FOLDER

GIVEN = StageInput("hello", "hello", np.zeros(8_000, np.float32))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in order, while a stage is measured."""
    done: list[str] = []

    def note(owner: Any, name: str, step: str) -> None:
        real = getattr(owner, name)

        def work(*arguments: Any, **more: Any) -> Any:
            done.append(step)
            return real(*arguments, **more)

        monkeypatch.setattr(owner, name, work)

    note(session, "start_trace", "sampling starts")
    note(LoopWatch, "stop", "sampling ends")
    note(session, "measure_units", "units")
    note(session, "_measure_parts", "parts")
    note(session, "_load", "others at work")
    note(session, "record_torch", "torch's profiler")
    note(session, "write_units", "written")
    return done


def test_torchs_profiler_runs_when_all_figures_are_known(
    steps: list[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor are stacks sampled any more when other engines are put to work."""
    monkeypatch.setenv(OUTPUT_FOLDER, str(tmp_path))
    chosen = profile.load("scripted", ("endpointing.policy=speculative",))
    options = StageOptions("stt", chosen, "scripted", repeats=2, cadence_s=None, beside=("turn",), with_floor=False)
    result = asyncio.run(session.measure_stage(options, [GIVEN], "unused: nothing is started as a process"))
    assert steps == [
        "sampling starts",
        "units",
        "sampling ends",
        "parts",
        "others at work",
        "units",
        "torch's profiler",
        "written",
    ]
    assert result["beside"] is not None
