"""Declares the engine: Gemma 3 27B's exact architecture with random weights, on torch alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from turngap_agent.engines import CoreSettings, GpuMemory, LlmSettings, LoadedEngine, Placement, StreamPriority
from turngap_agent.engines.gpu_memory import MIB
from turngap_agent.llm.gemma.sizes import INT4_BYTES

WEIGHTS_BYTES, POSITION_BYTES = 54.0e9, 507_904
"""Gemma 3 27B in bf16; 62 layers of 16 heads of 128, keys and values, for each position."""
_LAYERS, _EMBEDDINGS = 25.59e9, 1.41e9
"""Parameters of its layers, and of its embeddings, which stay in bf16."""
_SPARE_POSITIONS = 512


class GemmaSettings(LlmSettings, CoreSettings):
    """Gemma 3's exact architecture with random weights, on torch: real work, scripted words."""

    install = "turngap[csm]"
    packages = ("torch", "transformers")
    on_torch = True
    lower_gpu_memory = "lower llm.positions"
    # It reads 3.8 times the bytes per token.
    random_weights_note = "of bf16 on torch: neither FAIL nor PASS is conclusive for W4A16 on vLLM"

    engine: Literal["gemma"]
    architecture: Literal["gemma-3-27b", "tiny"] = "gemma-3-27b"
    device: Literal["cpu", "cuda"] = "cuda"
    stream_priority: StreamPriority = "normal"
    layer_weights: Literal["full", "int4"] = "full"
    """`int4`: 4-bit integers with a scale for 128, and torch's packed product; reads a step's weights as W4A16 does."""
    mode: Literal["auto", "graphs", "eager"] = "auto"
    """auto: CUDA graphs on a GPU; bf16 there, fp32 on a CPU."""
    positions: int = Field(2048, ge=512, le=8192)
    """The longest conversation in tokens."""
    system_prompt: str
    reply: str = "Certainly, I can look that up for you. One moment please."
    max_tokens: int = Field(24, ge=1, le=512)

    def build(self) -> LoadedEngine:
        """Make the network; on a GPU this takes up to minutes."""
        from turngap_agent.llm.gemma.engine import GemmaChat

        return GemmaChat(self)

    def gpu_memory(self, total_mib: float) -> GpuMemory | None:
        """Weights, and keys and values by positions."""
        if self.placement() is not Placement.GPU or self.architecture == "tiny":
            return None
        positions = self.positions + _SPARE_POSITIONS
        if self.layer_weights == "int4":
            weights = _LAYERS * INT4_BYTES + 2 * _EMBEDDINGS
            arithmetic = f"25.6 B x {INT4_BYTES:.2f} bytes, 1.4 B x 2 bytes"
        else:
            weights, arithmetic = WEIGHTS_BYTES, "27.0 B x 2 bytes"
        size = weights + positions * POSITION_BYTES
        return GpuMemory(size / MIB, f"{arithmetic}, {positions} positions of 0.5 MB")

    @classmethod
    def note_on_random_weights(cls, data: Mapping[str, Any]) -> str:
        """Int4 reads the bytes of W4A16, through other kernels than vLLM's."""
        if data.get("layer_weights") == "int4":
            return "of int4 on torch: neither FAIL nor PASS is conclusive for W4A16 on vLLM, whose kernels are others"
        return cls.random_weights_note
