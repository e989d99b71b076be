"""Under MPS a fatal fault of one process ends the CUDA of all: the agent must end too, so that everything starts anew.

NVIDIA's documentation of MPS ("Error Containment"): the fault is reported to every client of the GPU, the server
refuses new clients until all present ones have left, and the agent is one of them. Without its end vLLM's restarts
would be refused for ever.
"""

from __future__ import annotations

import asyncio
import re

from turngap_agent.errors import EngineError

_FATAL = re.compile(
    r"illegal memory access|illegal instruction was encountered|illegal address|misaligned address"
    r"|invalid program counter|CUDA_ERROR_ILLEGAL_ADDRESS|cudaErrorIllegalAddress"
    r"|unspecified launch failure|CUDA_ERROR_LAUNCH_FAILED|cudaErrorLaunchFailure|device-side assert triggered"
    r"|hardware stack error|uncorrectable ECC|launch timed out"
    r"|CUBLAS_STATUS_EXECUTION_FAILED|CUDNN_STATUS_EXECUTION_FAILED"
    r"|MPS (?:client|server|RPC|control)[^\n]*(?:terminat|fail|not ready)|cudaErrorMps\w+|CUDA_ERROR_MPS_\w+",
    re.IGNORECASE,
)
"""What libraries say of errors after which a CUDA context is lost (the CUDA runtime's `cudaError`, "sticky" ones).

Not "device-side assert" alone: torch ends the text of every CUDA error with advice about "device-side assertions".
"""


def find_fatal_fault(text: str) -> str | None:
    """Return the line of `text` that reports a fault after which its CUDA context is lost; None if none does."""
    return next((line.strip() for line in text.splitlines() if _FATAL.search(line)), None)


class FaultWatch:
    """Whether the GPU was lost for all its users; armed while MPS is on."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lost: asyncio.Future[str] | None = None

    def arm(self) -> None:
        """Watch from now on, for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._lost = self._loop.create_future()

    def disarm(self) -> None:
        """Stop watching."""
        if self._lost is not None:
            self._lost.cancel()
        self._loop = self._lost = None

    def report(self, who: str, text: str) -> bool:
        """Pass on what `who` printed or raised; return whether the GPU is lost by it. Call it on the event loop."""
        if self._lost is None or (fault := find_fatal_fault(text)) is None:
            return False
        if not self._lost.done():
            self._lost.set_result(f"{who}: {fault[:300]}")
        return True

    async def wait(self) -> EngineError:
        """Return the error with which the agent must end, once the GPU is lost; without MPS, never."""
        if self._lost is None:
            await asyncio.Event().wait()
        assert self._lost is not None
        fault = await asyncio.shield(self._lost)
        return EngineError(
            f"gpu.mps: a CUDA fault of one process ended the GPU for all ({fault}); the agent ends: start it again, or "
            "set gpu.mps: false to keep faults apart"
        )


WATCH = FaultWatch()
"""The process's: an agent has one GPU."""
