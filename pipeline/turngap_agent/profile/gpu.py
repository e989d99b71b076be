"""Settings of the GPU: which one, and how the agent's processes share it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from turngap_agent.documents import FrozenModel

Percentage = Annotated[int | None, Field(ge=1, le=100)]


class GpuSettings(FrozenModel):
    """One GPU for all engines; engines say `device: cuda`, and this says which that is."""

    device: Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=r"^(GPU|MIG)-[0-9A-Za-z/-]+$")] | None = None
    """A place among the GPUs that CUDA_VISIBLE_DEVICES shows, counted as nvidia-smi counts, or the UUID of a GPU or a
    MIG slice; null: the first."""
    mps: bool = False
    """CUDA's Multi-Process Service, which the agent then starts and ends itself: work of the agent's process and of
    vLLM's runs at the same time. Without it the two take turns."""
    agent_active_thread_pct: Percentage = None
    """Of the GPU's threads that the agent's process (speech in and out) may use under MPS; null: all."""
    llm_active_thread_pct: Percentage = None
    """The same for vLLM."""
    llm_mps_priority: Literal["normal", "below_normal"] = "below_normal"
    """vLLM's beside the agent's under MPS: who waits for speech waits for the next 80 ms, not for the next reply."""

    @model_validator(mode="after")
    def _limits_need_mps(self) -> GpuSettings:
        for name in ("agent_active_thread_pct", "llm_active_thread_pct"):
            if getattr(self, name) is not None and not self.mps:
                raise ValueError(f"`{name}` is MPS's to keep: set `mps: true` too, or leave it out")
        return self
