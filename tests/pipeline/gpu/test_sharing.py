"""How engines come to share a GPU: chosen, shown to CUDA alone, MPS around it, and all of it undone at the end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from turngap_agent import profile
from turngap_agent.errors import EngineError
from turngap_agent.gpu import choice
from turngap_agent.gpu.sharing import Sharing
from turngap_agent.llm.vllm.settings import VllmSettings
from turngap_agent.profile.sections import GpuSettings

from tests.pipeline.gpu.fake_nvml import nvml
from tests.pipeline.gpu.test_mps import install


@pytest.fixture(autouse=True)
def no_choice_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine of the tests has."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/nowhere")


def of(module: Any) -> Callable[..., choice.ChosenGpu]:
    return lambda device: choice.choose(device, environment={}, nvml=module)


def open_sharing(name: str, *overrides: str, module: Any = None, look: Callable[[Sharing], None] | None = None) -> bool:
    """Whether that profile takes a GPU; `look` inspects it while it is shared."""

    async def scenario() -> bool:
        sharing = await Sharing.open(profile.load(name, overrides), of(module or nvml()))
        if sharing is None:
            return False
        try:
            if look is not None:
                look(sharing)
        finally:
            await sharing.close()
        return True

    return asyncio.run(scenario())


def test_profiles_without_a_gpu_take_none() -> None:
    """NVML is not even queried."""
    for name in ("cpu", "scripted", "weightless-tiny"):
        assert not open_sharing(name, module=SimpleNamespace())


def test_the_environment_shows_that_gpu_and_is_restored() -> None:
    """While it is shared, CUDA sees it alone; the ready line says which it is."""

    def look(sharing: Sharing) -> None:
        assert (os.environ["CUDA_DEVICE_ORDER"], os.environ["CUDA_VISIBLE_DEVICES"]) == ("PCI_BUS_ID", "1")
        assert sharing.facts() == {
            "uuid": "GPU-1a",
            "name": "NVIDIA A100",
            "mps": False,
            "agent_active_thread_pct": None,
            "llm_active_thread_pct": None,
            "external_llm": False,
        }

    before = dict(os.environ)
    assert open_sharing("weightless-hf", "gpu.device=1", look=look)
    assert dict(os.environ) == before


def test_mps_runs_around_the_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's process and vLLM's are its clients, each with its own share."""
    monkeypatch.setenv("PATH", install(tmp_path)["PATH"])

    def look(sharing: Sharing) -> None:
        assert os.environ["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "100"
        assert sharing.facts()["mps"]
        llm = sharing.with_environment(profile.load("weightless", ("llm.environment={A: b}",)).llm)
        assert isinstance(llm, VllmSettings)
        assert llm.environment["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "60"
        assert llm.environment["A"] == "b"
        scripted = profile.load("scripted").llm
        assert sharing.with_environment(scripted) is scripted

    before = dict(os.environ)
    assert open_sharing("weightless", "gpu.mps=true", "gpu.llm_active_thread_pct=60", look=look)
    assert dict(os.environ) == before


def test_a_daemon_of_the_machine_is_kept_away_by_a_folder_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made for this agent alone, and removed with it."""
    (tmp_path / "control").touch()
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    seen: list[Path] = []

    def look(sharing: Sharing) -> None:
        seen.append(Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"]))
        assert list(seen[0].iterdir()) == []

    assert open_sharing("weightless-hf", look=look)
    assert not seen[0].exists()
    assert os.environ["CUDA_MPS_PIPE_DIRECTORY"] == str(tmp_path)


def test_no_gpu_is_refused_before_anything_loads_but_vllm_may_run_on_a_cpu() -> None:
    """An engine that says cuda needs one; vLLM alone does not, unless the profile asks for something of a GPU."""
    none = nvml(nvmlInit=None)
    with pytest.raises(EngineError, match="no NVIDIA GPU"):
        open_sharing("weightless", module=none)
    on_cpu = ("stt.device=cpu", "tts.device=cpu")
    assert not open_sharing("weightless", *on_cpu, module=none)
    with pytest.raises(EngineError, match="no NVIDIA GPU"):
        open_sharing("weightless", *on_cpu, "gpu.mps=true", module=none)


def test_two_processes_on_an_exclusive_card_are_refused_without_mps() -> None:
    """One process of its own is fine."""
    exclusive = nvml(nvmlDeviceGetComputeMode=lambda handle: 3)
    with pytest.raises(EngineError, match="EXCLUSIVE_PROCESS"):
        open_sharing("weightless", module=exclusive)
    assert open_sharing("weightless-hf", module=exclusive)


def test_choices_and_other_processes_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Which of several is used by default, and which other processes use it."""
    running = [SimpleNamespace(pid=7, usedGpuMemory=None)]
    open_sharing("weightless-hf", module=nvml(nvmlDeviceGetComputeRunningProcesses=lambda handle: running))
    assert "2 GPUs are here; GPU 0 (NVIDIA A100), GPU-0a, is used; choose with gpu.device" in caplog.text
    assert "is in use by others (process 7" in caplog.text


@pytest.mark.parametrize("settings", [{"llm_active_thread_pct": 50}, {"mps": True, "llm_active_thread_pct": 0}])
def test_shares_need_mps_and_are_percentages(settings: dict[str, Any]) -> None:
    """Without MPS nothing keeps them."""
    with pytest.raises(ValidationError):
        GpuSettings(**settings)


@pytest.mark.parametrize("device", [-1, "cuda:1", "8f3c"])
def test_a_device_is_a_number_or_a_uuid(device: object) -> None:
    """Everything else is refused where the profile is read."""
    with pytest.raises(ValidationError):
        GpuSettings.model_validate({"device": device})
