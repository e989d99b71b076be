"""A CUDA fault under MPS ends the agent with one line; without MPS, and for errors that pass, nothing ends."""

from __future__ import annotations

import asyncio

import pytest
from turngap_agent.gpu import faults
from turngap_agent.gpu.faults import FaultWatch

FATAL = (
    "RuntimeError: CUDA error: an illegal memory access was encountered",
    "torch.AcceleratorError: CUDA error: unspecified launch failure",
    "csm: the device failed (CUDA error: device-side assert triggered); this reply is lost",
    "RuntimeError: CUDA failed with error misaligned address",
    "RuntimeError: CUDA driver error: CUDA_ERROR_ILLEGAL_ADDRESS",
    "Fatal: cudaErrorIllegalAddress",
    "Triton Error [CUDA]: CUDA_ERROR_LAUNCH_FAILED",
    "RuntimeError: CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx( handle, opa, opb)`",
    "RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "RuntimeError: CUDA error: the MPS client has been terminated",
    "RuntimeError: CUDA error: MPS server is not ready to accept new MPS client requests",
    "cudaErrorMpsConnectionFailed",
)
TORCH_ADVICE = (
    "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\n"
    "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)
"""What torch appends to every CUDA error (c10/cuda/CUDAException.cpp)."""
PASSING = (
    f"torch.AcceleratorError: CUDA error: out of memory\n{TORCH_ADVICE}",
    f"torch.AcceleratorError: CUDA error: invalid argument\n{TORCH_ADVICE}",
    f"RuntimeError: CUDA error: no kernel image is available for execution on the device\n{TORCH_ADVICE}",
    f"RuntimeError: CUDA error: operation not permitted when stream is capturing\n{TORCH_ADVICE}",
    "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    "llm: vLLM is down (it was killed by SIGKILL); it restarts in 1 s",
    "RuntimeError: the engine died",
    "INFO starting the MPS server",
)


@pytest.mark.parametrize("text", FATAL)
def test_errors_that_lose_the_context_are_known(text: str) -> None:
    """In torch's, CTranslate2's and CUDA's words; the line is found in a longer output."""
    assert faults.find_fatal_fault(f"Traceback:\n  {text}\n{TORCH_ADVICE}after it") == text


@pytest.mark.parametrize("text", PASSING)
def test_errors_that_pass_are_not(text: str) -> None:
    """Memory that ran out, and deaths without CUDA."""
    assert faults.find_fatal_fault(text) is None


def test_the_first_fault_ends_the_agent_with_one_line() -> None:
    """It names who reported it and the setting; later reports, of the same fault at others, do not change it."""

    async def work() -> str:
        watch = FaultWatch()
        watch.arm()
        assert not watch.report("vLLM", PASSING[0])
        assert watch.report("vLLM", f"some output\n{FATAL[0]}")
        assert watch.report("an engine of the agent", FATAL[1])
        return str(await watch.wait())

    line = asyncio.run(asyncio.wait_for(work(), 5))
    assert line.startswith(f"gpu.mps: a CUDA fault of one process ended the GPU for all (vLLM: {FATAL[0]}); ")
    assert "gpu.mps: false" in line
    assert "\n" not in line


@pytest.mark.parametrize("armed_before", [False, True])
def test_without_mps_nothing_ends(armed_before: bool) -> None:
    """A fault is then its process's own; so is one after the engines were closed."""

    async def work() -> None:
        watch = FaultWatch()
        if armed_before:
            watch.arm()
            watch.disarm()
        assert not watch.report("vLLM", FATAL[0])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watch.wait(), 0.02)

    asyncio.run(work())
