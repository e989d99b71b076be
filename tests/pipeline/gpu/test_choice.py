"""Which GPU is used: by the profile, else by CUDA_VISIBLE_DEVICES, else the first; what is not there is one line."""

from __future__ import annotations

from typing import Any

import pynvml
import pytest
from turngap_agent.errors import EngineError
from turngap_agent.gpu.choice import ChosenGpu, NoGpuError, check_mode, choose

from tests.pipeline.gpu.fake_nvml import cut, nvml


def choose_gpu(device: int | str | None = None, visible: str | None = None, module: Any = None) -> ChosenGpu:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    return choose(device, environment=environment, nvml=module or nvml())


def test_every_faked_function_is_one_of_the_real_bindings() -> None:
    """The stand-in has nothing that pynvml lacks."""
    names = [name for name in vars(nvml()) if name.lower().startswith("nvml")]
    assert [name for name in names if not hasattr(pynvml, name)] == []


@pytest.mark.parametrize(
    ("device", "visible", "uuid"),
    [
        (None, None, "GPU-0a"),
        (None, "1", "GPU-1a"),
        (None, "1,0", "GPU-1a"),
        (None, "GPU-1", "GPU-1a"),
        (1, None, "GPU-1a"),
        (1, "1,0", "GPU-0a"),
        ("GPU-1a", None, "GPU-1a"),
    ],
)
def test_profile_then_environment_then_the_first(device: int | str | None, visible: str | None, uuid: str) -> None:
    """A number counts among those that CUDA_VISIBLE_DEVICES shows: a scheduler's word is kept."""
    assert choose_gpu(device, visible).uuid == uuid


def test_cuda_is_shown_that_card_alone_by_its_number() -> None:
    """In the order of nvidia-smi, which CUDA's own is not."""
    assert choose_gpu(1).environment == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}
    assert choose_gpu(1).label == "GPU 1 (NVIDIA A100)"


def test_a_gpu_taken_by_default_is_marked() -> None:
    """Two to choose from; one where one was named."""
    assert (choose_gpu().candidates, choose_gpu(0).candidates, choose_gpu(None, "1").candidates) == (2, 1, 1)


def test_the_only_slice_of_a_card_is_taken() -> None:
    """CUDA is shown it by its UUID."""
    gpu = choose_gpu(module=cut("0s1"))
    assert (gpu.uuid, gpu.is_slice, gpu.number) == ("MIG-0s1", True, 0)
    assert gpu.environment == {"CUDA_VISIBLE_DEVICES": "MIG-0s1"}
    assert gpu.label == "a slice of GPU 0 (NVIDIA A100)"


@pytest.mark.parametrize(("device", "visible"), [("MIG-0s2", None), (None, "MIG-0s2")])
def test_one_of_several_slices_is_named(device: str | None, visible: str | None) -> None:
    """In the profile or in the environment."""
    assert choose_gpu(device, visible, cut("0s1", "0s2")).uuid == "MIG-0s2"


@pytest.mark.parametrize(
    ("device", "visible", "module", "words"),
    [
        (None, None, cut("0s1", "0s2"), "is partitioned into 2 MIG slices, .* one of MIG-0s1, MIG-0s2"),
        (None, None, cut(), "is in MIG mode and has no slices; make one"),
        ("GPU-0a", None, cut("0s1", "0s2"), "is partitioned into 2 MIG slices"),
        (2, None, nvml(), r"gpu\.device: 2, but there are 2 GPUs .* 0 NVIDIA A100 \(GPU-0a\), 1 NVIDIA"),
        ("GPU-9", None, nvml(), r"gpu\.device: GPU-9 is not among .* `nvidia-smi -L`"),
        (None, "", nvml(), "CUDA_VISIBLE_DEVICES='' shows no GPU; .* correct or unset it"),
        (None, "7", nvml(), "CUDA_VISIBLE_DEVICES='7' shows no GPU"),
        (None, "-1,0", nvml(), "CUDA_VISIBLE_DEVICES='-1,0' shows no GPU"),
        (None, None, nvml(nvmlDeviceGetUUID=None), "the GPUs cannot be read .Not Supported.; check"),
    ],
)
def test_an_unusable_gpu_is_one_line(device: int | str | None, visible: str | None, module: Any, words: str) -> None:
    """What is wrong, what there is, what to do."""
    with pytest.raises(EngineError, match=words) as fault:
        choose_gpu(device, visible, module)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("changes", [{"nvmlInit": None}, {"nvmlDeviceGetCount": lambda: 0}])
def test_no_gpu_is_a_fault_of_its_own(changes: dict[str, Any]) -> None:
    """vLLM may still run on the CPU."""
    with pytest.raises(NoGpuError, match=r"^no NVIDIA GPU: .*choose "):
        choose_gpu(module=nvml(**changes))


def test_compute_modes_that_forbid_it_are_refused() -> None:
    """PROHIBITED always; EXCLUSIVE_PROCESS where two processes share without MPS; one that does not tell is tried."""
    prohibited, exclusive = (choose_gpu(module=nvml(nvmlDeviceGetComputeMode=lambda handle, m=m: m)) for m in (2, 3))
    with pytest.raises(EngineError, match=r"PROHIBITED.*nvidia-smi -i 0 -c DEFAULT"):
        check_mode(prohibited, 1, mps=True)
    with pytest.raises(EngineError, match=r"EXCLUSIVE_PROCESS, and 2 processes .* gpu\.mps: true"):
        check_mode(exclusive, 2, mps=False)
    check_mode(exclusive, 2, mps=True)
    check_mode(exclusive, 1, mps=False)
    check_mode(choose_gpu(module=nvml(nvmlDeviceGetComputeMode=None)), 2, mps=False)
