"""Writes down what happened while a stage was measured, if whoever started the process named a folder for a trace."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from turngap_agent.engines import EngineSettings, Placement
from turngap_agent.health.loop_watch import LoopWatch
from turngap_agent.health.watching import start_watch
from turngap_agent.stage.inputs import StageInput
from turngap_agent.stage.measurement import Unit
from turngap_agent.stage.units import Work
from turngap_agent.tracing import OUTPUT_FOLDER, STAGE_PARTS, TORCH_TRACE


def start_trace(environment: Mapping[str, str] = os.environ) -> LoopWatch | None:
    """Start to sample the stacks of all threads; None: no trace is wanted.

    Raises:
        EngineError: there is no room for the samples.
    """
    return start_watch(sample_stacks=OUTPUT_FOLDER in environment, environment=environment)


async def record_torch(
    settings: EngineSettings, work: Work, given: StageInput, environment: Mapping[str, str] = os.environ
) -> tuple[Unit, ...]:
    """Do one unit more under torch's profiler, and return it; none where no trace is wanted, or without torch."""
    if OUTPUT_FOLDER not in environment or not settings.on_torch:
        return ()
    from turngap_agent.stage.torch_trace import record_unit

    file = Path(environment[OUTPUT_FOLDER]) / TORCH_TRACE
    measured = await record_unit(work, given, file, on_gpu=settings.placement() is Placement.GPU)
    return measured.units


def write_units(units: Sequence[Unit], environment: Mapping[str, str] = os.environ) -> None:
    """Write down the units and the parts of each, if a trace is wanted."""
    if OUTPUT_FOLDER not in environment:
        return
    lines: list[dict[str, object]] = []
    for unit in units:
        end_ns = unit.start_ns + round(unit.times.whole_ms * 1e6)
        lines.append({"unit": unit.given.key, "start_ns": unit.start_ns, "end_ns": end_ns})
        lines += [
            {"part": one.part, "thread": one.thread, "start_ns": one.start_ns, "end_ns": one.end_ns}
            for one in unit.recorder.slices
        ]
    file = Path(environment[OUTPUT_FOLDER]) / STAGE_PARTS
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
