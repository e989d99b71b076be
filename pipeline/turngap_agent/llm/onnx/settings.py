"""Declares the engine: A Llama-shaped chat model on ONNX Runtime, in 8 bits."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from turngap_agent.engines import CoreSettings, LlmSettings, LoadedEngine


class OnnxSettings(LlmSettings, CoreSettings):
    """A Llama-shaped chat model on ONNX Runtime, in 8 bits."""

    install = "turngap[cpu]"
    packages = ("onnxruntime", "tokenizers")
    keeps_prompts = True

    engine: Literal["onnx"]
    model: str = "smollm2-135m-instruct"
    """An entry of `weights.toml`, or the folder of a model that was converted in the same way."""
    threads: int = Field(1, ge=1)
    positions: int = Field(2048, ge=256)
    """The longest conversation in tokens, with the system prompt; at most what the model was trained for. Each position
    takes memory, 46 KB with the model that ships, in every conversation that is kept."""
    conversations: int | None = Field(None, ge=1, le=64)
    """For this many calls keys and values are kept; one more replaces those of the call that has been silent longest,
    whose prompt is then computed again. null: `limits.simultaneous_calls`, so that none is."""
    system_prompt: str
    template: Literal["chatml", "dialogue"] = "chatml"
    """How the conversation is written: with the chat model's marks, or as lines after the examples in `system_prompt`.
    A small model answers at length with the first and to the point with the second."""
    max_tokens: int = Field(24, ge=1, le=512)
    min_tokens: int = Field(0, ge=0, le=512)
    """The shortest reply, for measurements that need an agent that talks for a while."""
    repetition_penalty: float = Field(1.1, ge=1, le=2)
    draft_tokens: int = Field(3, ge=0, le=16)
    """Where the reply's last tokens stood in the conversation before, so many that followed them there are checked in
    the pass that computes the next one, and kept as far as the model chooses them. 0: one token a pass."""

    def build(self) -> LoadedEngine:
        """Load the model."""
        from turngap_agent.llm.onnx.engine import OnnxChat

        return OnnxChat(self)

    def pinned_weights(self) -> str:
        """The model."""
        return self.model

    def for_calls(self, simultaneous: int) -> Self:
        """Keep every call's conversation unless fewer are set."""
        return self if self.conversations is not None else self.model_copy(update={"conversations": simultaneous})
