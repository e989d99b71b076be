"""Settings of the language model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from turngap_agent.documents import FrozenModel
from turngap_agent.profile.settings import EngineSettings, StreamPriority


class OnnxSettings(EngineSettings):
    """A Llama-shaped chat model on ONNX Runtime, in 8 bits."""

    engine: Literal["onnx"]
    model: str = "smollm2-135m-instruct"
    """An entry of `weights.toml`, or the folder of a model that was converted as it is."""
    threads: int = Field(1, ge=1)
    positions: int = Field(2048, ge=256)
    """How many tokens a conversation may have, the system prompt's among them; no more than the model was made for.
    Each takes memory, 46 KB with the model that ships, for every conversation that is kept.
    """
    conversations: int | None = Field(None, ge=1, le=64)
    """So many calls' keys and values are kept; one more takes the place of the call that has been silent longest, whose
    prompt is read anew then. null: `limits.simultaneous_calls`, so that none is read anew."""
    system_prompt: str
    template: Literal["chatml", "dialogue"] = "chatml"
    """How the conversation is written down: with the chat model's marks, or as lines after `system_prompt`'s examples.

    A small model answers at length in the first and to the point in the second.
    """
    max_tokens: int = Field(24, ge=1, le=512)
    min_tokens: int = Field(0, ge=0, le=512)
    """No reply ends before so many: for measurements that need an agent who talks for a while."""
    repetition_penalty: float = Field(1.1, ge=1, le=2)
    apology: str = ""
    """Said where the model fails; "" says nothing."""


class GemmaSettings(EngineSettings):
    """Gemma 3's exact architecture with random weights, on torch: real work, scripted words."""

    engine: Literal["gemma"]
    architecture: Literal["gemma-3-27b", "tiny"] = "gemma-3-27b"
    device: Literal["cpu", "cuda"] = "cuda"
    stream_priority: StreamPriority = "normal"
    mode: Literal["auto", "graphs", "eager"] = "auto"
    """auto: CUDA graphs on a GPU; bf16 there, fp32 on a CPU."""
    positions: int = Field(2048, ge=512, le=8192)
    """How many tokens a conversation may have."""
    system_prompt: str
    reply: str = "Certainly, I can look that up for you. One moment please."
    max_tokens: int = Field(24, ge=1, le=512)
    apology: str = ""


class ScriptedLlmSettings(FrozenModel):
    """Gives the same reply, token by token, after set times."""

    engine: Literal["scripted"]
    reply: str = "Certainly, I can help you with that."
    first_token_ms: float = Field(40, ge=0)
    token_ms: float = Field(5, ge=0)
    system_prompt: str = ""
    max_tokens: int = Field(24, ge=1)
    apology: str = ""
