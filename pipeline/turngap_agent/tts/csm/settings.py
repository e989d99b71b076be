"""Declares the engine: CSM-1B as a streaming synthesiser: first audio after the first frame of 80 ms."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from turngap_agent.documents import FrozenModel
from turngap_agent.engines import (
    CoreSettings,
    GpuMemory,
    LoadedEngine,
    Placement,
    StreamPriority,
    TtsSettings,
    weights_memory,
)
from turngap_agent.tts.csm.fast_paths import FastPaths, FusedKernel

_PARAMETERS = 1_632e6
"""CSM-1B with its codec, counted from the architecture."""
DEPTH_INT8_MIB = 107.0
"""The depth decoder's four layers as 8-bit integers, with a float32 a row; the full ones stay beside them."""
SLOT_MIB = 80.0
"""Keys and values of 2,560 positions in bf16, and the codec's state."""


class VoicePrompt(FrozenModel):
    """About ten seconds of the voice to speak with, and its words."""

    audio: str
    """An audio file, mono or to be mixed down."""
    text: str


class CsmSettings(TtsSettings, CoreSettings):
    """CSM-1B; one thread, frame by frame."""

    install = "turngap[csm]"
    packages = ("tokenizers", "torch", "transformers")
    on_torch = True
    lower_gpu_memory = "lower tts.slots"

    engine: Literal["csm"]
    weights: str = "real"
    """`real` (pinned, gated), `random` (the exact architecture, for its speed), `tiny` (for tests), or a folder."""
    device: Literal["cpu", "cuda"] = "cuda"
    stream_priority: StreamPriority = "high"
    """A frame that is late is heard; a token that is late is not."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """The number format of everything but the codec, which is float32; auto: bfloat16 on a GPU."""
    mode: Literal["auto", "compiled", "graphs", "eager"] = "auto"
    temperature: float = Field(0.9, ge=0, le=2)
    """0: always the likeliest code."""
    top_k: int = Field(50, ge=1, le=2048)
    max_frames: int = Field(250, ge=1, le=1500)
    """The longest clause, in frames of 80 ms: a longer one no longer follows its text."""
    voice_prompt: VoicePrompt | None = None
    context_positions: int = Field(2048, ge=256, le=2048)
    slots: int = Field(2, ge=1, le=16)
    """How many clauses are spoken at once; further ones wait."""
    fused_kernels: tuple[FusedKernel, ...] = ()
    """`sampling`, `attention`, `int8` (products with `depth_weights: int8`): one kernel in Triton for several. `depth`:
    one for the whole depth decoder, which all multiprocessors run together."""
    codec_beside: bool = False
    """Decode a frame's sound beside the next frame's backbone, on a stream of its own."""
    depth_weights: Literal["full", "int8"] = "full"
    """`int8`: the depth decoder reads half the bytes, and draws other codes. In captured graphs the kernel `int8`
    belongs to it: without it the integers are converted in memory first, which is slower than bf16."""
    dependent_launch: bool = False
    """Launch a compiled kernel before the one before it has ended (`mode: compiled`, Hopper and later)."""
    scheduling: Literal["in_turn", "first_frames_first", "batched"] = "in_turn"
    """`first_frames_first`: a clause's first frame goes before others' later ones, and no frame is launched ahead while
    another waits. `batched`: that, and later frames of several clauses share one pass of the depth decoder. Neither is
    measured on a GPU yet."""
    seed: int = 0

    @property
    def fast_paths(self) -> FastPaths:
        """The options for speed; none of them has been measured on a GPU."""
        return FastPaths(
            frozenset(self.fused_kernels),
            self.codec_beside,
            self.depth_weights == "int8",
            self.dependent_launch,
            self.scheduling == "batched",
        )

    def build(self) -> LoadedEngine:
        """Load the model; on a GPU this takes up to minutes."""
        from turngap_agent.tts.csm.engine import Csm

        return Csm(self)

    def pinned_weights(self) -> str | None:
        """Sesame's checkpoint, for real weights."""
        return "csm-1b" if self.weights == "real" else None

    def gpu_memory(self, total_mib: float) -> GpuMemory | None:
        """Weights, and a slot's state for each clause that is spoken at once."""
        if self.placement() is not Placement.GPU or self.weights == "tiny":
            return None
        weights = weights_memory("csm-1b", _PARAMETERS, 4 if self.dtype == "float32" else 2)
        copies_mib = DEPTH_INT8_MIB if self.depth_weights == "int8" else 0.0
        copies = f", {copies_mib:.0f} MiB of int8 copies" if copies_mib else ""
        return GpuMemory(
            weights.mib + copies_mib + self.slots * SLOT_MIB,
            f"{weights.arithmetic}{copies}, {self.slots} slots of {SLOT_MIB:.0f} MiB",
        )
