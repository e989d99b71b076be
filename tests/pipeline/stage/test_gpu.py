"""The GPU of a measured stage: MPS is started where it is said to be, or refused; memory is read, or said not to be."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from turngap_agent.errors import EngineError, UsageError
from turngap_agent.gpu import choice, mps
from turngap_agent.stage import document
from turngap_agent.stage.command import StageOptions, make_options
from turngap_agent.stage.gpu import GpuMemory, share_gpu

from tests.pipeline.gpu.fake_nvml import cut, nvml
from tests.pipeline.gpu.test_mps import install

CHOOSE = choice.choose
"""The real one: tests put another into its module."""


@pytest.fixture(autouse=True)
def no_gpu_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine of the tests has."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/nowhere")


def of(module: Any) -> Callable[..., choice.ChosenGpu]:
    return lambda device: CHOOSE(device, environment={}, nvml=module)


def show(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    """Let the machine have the GPUs of `module`."""
    monkeypatch.setattr(choice, "choose", of(module))


def under_mps(monkeypatch: pytest.MonkeyPatch, folder: Path) -> StageOptions:
    """The options of a stage beside another under MPS, on a machine that has it."""
    show(monkeypatch, nvml())
    monkeypatch.setenv("PATH", install(folder)["PATH"])
    return make_options("tts", "h200", beside="stt", place="mps")


def test_mps_without_a_gpu_or_its_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line and exit code 3, before anything loads: never a document that says `mps` of something else."""
    show(monkeypatch, nvml(nvmlInit=None))
    with pytest.raises(UsageError, match="--in mps: no NVIDIA GPU") as raised:
        make_options("tts", "h200", beside="stt", place="mps")
    assert raised.value.exit_code == 3
    show(monkeypatch, nvml())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match=f"--in mps: {mps.CONTROL} is not installed"):
        make_options("tts", "h200", beside="stt", place="mps")


def test_mps_needs_the_gpu_on_both_sides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The turn model of that profile works on the processor, measured or beside."""
    assert under_mps(monkeypatch, tmp_path).place == "mps"
    for stage, beside in (("turn", "stt"), ("tts", "turn")):
        with pytest.raises(UsageError, match="--in mps: shares a GPU"):
            make_options(stage, "h200", beside=beside, place="mps")


def test_the_agent_s_own_daemon_runs_while_stages_are_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both processes are its clients, the document says so, and it ends with the measurement."""
    options = under_mps(monkeypatch, tmp_path)

    async def scenario() -> Path:
        async with share_gpu(options, of(nvml())) as sharing:
            assert sharing is not None
            assert sharing.facts()["mps"] is True
            pipe = Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"])
            assert (pipe / "control").exists()
            with pytest.raises(EngineError, match="did not reach the MPS daemon"):
                await sharing.check()  # no engine has used it
            (pipe / "clients").touch()
            await sharing.check()
            return pipe

    pipe = asyncio.run(scenario())
    assert not pipe.exists()
    assert os.environ["CUDA_MPS_PIPE_DIRECTORY"] == "/nowhere"


@pytest.mark.parametrize("place", ["thread", "process"])
def test_another_place_is_not_under_mps_even_if_the_profile_is(place: str) -> None:
    """What the document calls it is what it was."""
    options = make_options("tts", "h200", overrides=("gpu.mps=true",), beside="stt", place=place)

    async def scenario() -> bool:
        async with share_gpu(options, of(nvml())) as sharing:
            assert sharing is not None
            return bool(sharing.facts()["mps"])

    assert not asyncio.run(scenario())


def memory_of(stage: str, profile: str, module: Any, *overrides: str) -> tuple[Any, dict[str, str]]:
    options = make_options(stage, profile, overrides=overrides)

    async def scenario() -> tuple[Any, dict[str, str]]:
        async with share_gpu(options, of(module)) as sharing:
            memory = GpuMemory(options.settings, sharing)
            for moment in ("load", "steady"):
                memory.read(moment)
            described: dict[str, Any] = {"reasons": {}}
            document.add_gpu(described, None if sharing is None else sharing.facts(), *memory.describe())
            return described, described["reasons"]

    return asyncio.run(scenario())


def test_gpu_memory_is_the_device_s_growth_and_unreadable_is_said() -> None:
    """Also of a MIG slice whose memory NVML does not show, and of an engine on the processor."""
    said, reasons = memory_of("stt", "h200", nvml())
    assert said["gpu_memory_mib"] == {"load": 0, "steady": 0, "peak": None}
    assert "torch" in reasons["gpu_memory_mib.peak"]
    assert said["gpu"] == {"uuid": "GPU-0a", "name": "NVIDIA A100", "mps": False}
    module = cut("slice")
    module.nvmlDeviceGetMemoryInfo = nvml(nvmlDeviceGetMemoryInfo=None).nvmlDeviceGetMemoryInfo
    said, reasons = memory_of("stt", "h200", module)
    assert said["gpu_memory_mib"] is None
    assert reasons["gpu_memory_mib"] == "NVML does not show the memory of a slice of GPU 0 (NVIDIA A100)"
    said, reasons = memory_of("turn", "h200", nvml())
    assert (said["gpu"], said["gpu_memory_mib"]) == (None, None)
    assert reasons["gpu"] == reasons["gpu_memory_mib"] == "the engine works on the processor"


def test_no_nvml_is_one_line() -> None:
    """An engine on a GPU that is not there is no engine."""
    with pytest.raises(EngineError, match="no NVIDIA GPU"):
        memory_of("stt", "h200", nvml(nvmlInit=None))
