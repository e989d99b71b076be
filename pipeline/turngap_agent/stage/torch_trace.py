"""Records a unit with torch's profiler: the operations of all threads and, on a GPU, its kernels and copies."""

from __future__ import annotations

from pathlib import Path

from torch.profiler import ProfilerActivity, _ExperimentalConfig, profile, record_function

from turngap_agent.clock import now_ns
from turngap_agent.stage.inputs import StageInput
from turngap_agent.stage.measurement import Measured, measure_units
from turngap_agent.stage.units import Work
from turngap_agent.tracing import TORCH_CLOCK


async def record_unit(work: Work, given: StageInput, file: Path, *, on_gpu: bool) -> Measured:
    """Do one unit, write the profiler's trace of it to `file`, and return the unit.

    Marks at both ends have the host's monotonic time in their names: the profiler's clock is another one.
    """
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    # An engine works on a thread of its own, which was there before the profiler: without the option it is not seen.
    with profile(activities=activities, experimental_config=_ExperimentalConfig(profile_all_threads=True)) as profiler:
        _mark_clock()
        measured = await measure_units(work, [given], 1, None)
        _mark_clock()
    profiler.export_chrome_trace(str(file))
    return measured


def _mark_clock() -> None:
    with record_function(f"{TORCH_CLOCK}{now_ns()}"):
        pass
