"""The GPUs' checks, through a stand-in for NVML."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from turngap.clock import FakeClock
from turngap.doctor.checks import State
from turngap.doctor.gpu import GpusFacts, judge_gpus, read_gpus

from tests.harness.processes.test_gpu import nvml, raise_refusal


def read(**changes: Any) -> GpusFacts:
    """A machine with two GPUs; `changes` replace NVML's functions."""
    functions = {
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlDeviceGetPersistenceMode": lambda handle: 1,
        "nvmlDeviceGetComputeMode": lambda handle: 0,
        "nvmlSystemGetCudaDriverVersion": lambda: 12_040,
        "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: 0x1,
    }
    return read_gpus(FakeClock(), nvml(**(functions | changes)), environment={})


def states(facts: GpusFacts) -> dict[str, State]:
    return {check.name: check.state for check in judge_gpus(facts, needed=True).checks}


def test_two_good_gpus() -> None:
    """Driver, CUDA, memory and clocks; nothing to be done."""
    facts = read()
    assert (facts.driver, facts.cuda, len(facts.gpus)) == ("550.54", "12.4", 2)
    checks = judge_gpus(facts, needed=True).checks
    assert {check.state for check in checks} == {State.OK}
    assert "NVIDIA A100, 71,680 of 81,920 MiB free" in [check.found for check in checks]


@pytest.mark.parametrize(
    ("changes", "name", "state"),
    [
        ({"nvmlDeviceGetCurrentClocksEventReasons": lambda handle: 0x40}, "GPU 0, clocks", State.WARNING),
        ({"nvmlDeviceGetPersistenceMode": lambda handle: 0}, "GPU 0, persistence", State.WARNING),
        ({"nvmlDeviceGetComputeMode": lambda handle: 2}, "GPU 0, mode", State.PROBLEM),
        ({"nvmlDeviceGetComputeMode": lambda handle: 3}, "GPU 0, mode", State.WARNING),
        (
            {"nvmlDeviceGetComputeRunningProcesses": lambda handle: [SimpleNamespace(pid=1, usedGpuMemory=None)]},
            "GPU 0, others",
            State.WARNING,
        ),
    ],
)
def test_each_fault_of_a_gpu(changes: dict[str, Any], name: str, state: State) -> None:
    """Heat, a driver that unloads, a mode that refuses, other programs: each has its line and its remedy."""
    checks = {check.name: check for check in judge_gpus(read(**changes), needed=True).checks}
    assert checks[name].state is state
    assert checks[name].remedy


def test_a_driver_that_does_not_say() -> None:
    """What NVML refuses is left out or said to be unknown; nothing is guessed."""
    silent = dict.fromkeys(
        ("nvmlDeviceGetPersistenceMode", "nvmlDeviceGetComputeMode", "nvmlSystemGetCudaDriverVersion"), raise_refusal
    )
    facts = read(**silent, nvmlDeviceGetComputeRunningProcesses=raise_refusal)
    assert facts.cuda is None
    assert "GPU 0, persistence" not in states(facts)
    assert states(facts)["GPU 0, others"] is State.OK


@pytest.mark.parametrize(("needed", "state"), [(True, State.PROBLEM), (False, State.OK)])
def test_no_gpu_is_a_problem_only_where_it_is_needed(needed: bool, state: State) -> None:
    """The profile `cpu` needs none."""
    facts = read(nvmlInit=raise_refusal)
    assert [check.state for check in judge_gpus(facts, needed=needed).checks] == [state]
    assert "no NVIDIA GPU" in facts.reason


def test_an_mps_server_that_is_named_is_said() -> None:
    """The environment names it."""
    facts = read_gpus(FakeClock(), nvml(), environment={"CUDA_MPS_PIPE_DIRECTORY": "/tmp/mps"})
    assert "CUDA_MPS_PIPE_DIRECTORY" in facts.mps
    assert replace(facts, mps="x").mps == "x"
