"""A chat model behind vLLM's OpenAI server. This module declares the engine; `engine` is the engine."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from turngap_agent.documents import FrozenModel
from turngap_agent.engines import GpuMemory, LlmSettings, LoadedEngine, Placement, gigabytes
from turngap_agent.engines.gpu_memory import MIB

REVISIONS = {
    # Gemma 3 27B, INT4 weights and 16-bit activations (compressed-tensors); Gemma's licence.
    "RedHatAI/gemma-3-27b-it-quantized.w4a16": "2b537554d6c6f6368945e8df4e5fb7bbbb5d56c9",
}
"""The commit that this version of turngap takes of a model on the hub."""
ARCHITECTURES = Path(__file__).parent / "architectures"
"""Configurations without weights, by name."""
GEMMA_W4A16_BYTES = 19.0e9
"""The checkpoint's size, about (`weights.toml`): the larger figure, until it is measured. Arithmetic gives 16 GB:
25.6 B of 4 bits and a 16-bit scale for 128 of them, and embeddings, 1.41 B x 2 bytes. The least that a share must leave
room for."""


class Restart(FrozenModel):
    """When a server that died or hangs is started again."""

    first_s: float = Field(1, gt=0)
    """The wait before the first start; doubled after each one that fails."""
    longest_s: float = Field(60, gt=0)
    """The wait never grows over this."""
    calm_s: float = Field(300, gt=0)
    """A server that was ready for so long is trusted again: the next wait is the first."""


class VllmSettings(LlmSettings):
    """A chat model behind vLLM's OpenAI server: one that is started and supervised here, or the one at `url`."""

    install = "turngap[gpu]"
    packages = ("httpx",)
    keeps_prompts = True

    engine: Literal["vllm"]
    url: str | None = Field(None, pattern=r"^https?://\S+$")
    """Of a server that runs already, with the path before `/chat/completions`: "http://host:8000/v1"."""
    model: str = "RedHatAI/gemma-3-27b-it-quantized.w4a16"
    """An entry of `weights.toml`, a repository of the hub, a folder, an architecture that ships here, or the name the
    server at `url` gives it."""
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    """Commit on the hub; None is the one in `REVISIONS`, if there is one."""
    system_prompt: str
    max_tokens: int = Field(48, ge=1, le=2048)
    temperature: float = Field(0, ge=0, le=2)
    apology: str = "I am sorry, I have a problem at the moment. Please try again in a minute."
    """Said in place of a reply that the server cannot give; the turn counts as failed. "" says nothing."""

    # What a server that is started here is given.
    command: tuple[str, ...] = Field(("vllm", "serve"), min_length=1)
    """Starts it; the model and the options follow. Another environment's: ["/opt/vllm/bin/vllm", "serve"]."""
    environment: dict[str, str] = Field(default_factory=dict)
    """On top of the agent's own."""
    port: int = Field(0, ge=0, le=65535)
    """On 127.0.0.1; 0 takes a free one."""
    load_format: Literal["auto", "dummy"] = "auto"
    """`dummy` fills the architecture with random weights: nothing is downloaded but its configuration."""
    dtype: str = "auto"
    gpu_memory_share: float = Field(0.5, gt=0, le=1)
    """Of the device's memory: weights, working memory, and all the rest of it for the KV cache."""
    kv_cache_mib: int | None = Field(None, ge=1)
    """The KV cache's size in place of what the share leaves for it."""
    max_context: int = Field(4096, ge=64)
    """Tokens of a prompt and its reply."""
    max_sequences: int = Field(16, ge=1)
    """Requests that are computed at once; more wait."""
    eager: bool = False
    """Without compilation and CUDA graphs: starts in less time, answers in more."""
    seed: int = 0
    otlp_traces_endpoint: str | None = None
    """Where vLLM's own spans go; they continue the trace of the attempt."""
    extra_arguments: tuple[str, ...] = ()
    """Further options of `vllm serve`, as they are."""

    start_limit_s: float = Field(1800, gt=0)
    """A start that is not ready by then has failed."""
    stall_limit_s: float = Field(10, gt=0)
    """A reply with no news for so long has failed; a health check too."""
    restart: Restart = Restart()

    # What a request is given.
    priority: bool = True
    """Callers who wait go before work on speculation. A server at `url` must run `--scheduling-policy priority`."""
    ignore_eos: bool = False
    """Always the full `max_tokens`: random weights end a reply anywhere."""
    prompt: Literal["chat", "token_ids"] = "chat"
    """`token_ids`: stand-in ids, a fixed number a word, where the model's tokenizer cannot be had; needs `script`."""
    script: str = ""
    """Said in place of the model's words, a word a token: random weights have nothing to say."""

    @model_validator(mode="after")
    def _ids_need_a_script(self) -> VllmSettings:
        if self.prompt == "token_ids" and not self.script.strip():
            raise ValueError("`prompt: token_ids` needs `script`: generated ids are no words")
        return self

    @property
    def served_model(self) -> str:
        """What `vllm serve` is given: the folder of an architecture that ships here, or `model` as it is."""
        shipped = ARCHITECTURES / self.model
        return str(shipped) if "/" not in self.model and (shipped / "config.json").is_file() else self.model

    @property
    def pinned_revision(self) -> str | None:
        """The commit to take, or None where the model is not pinned (a folder, another repository)."""
        return self.revision or REVISIONS.get(self.model)

    def build(self) -> LoadedEngine:
        """Prepare the client and, without `url`, the server's command line; `warm_up` starts it."""
        from turngap_agent.llm.vllm.engine import VllmChat

        return VllmChat(self)

    def pinned_weights(self) -> str | None:
        """The model, where the server is started here and loads its weights."""
        return None if self.url is not None or self.load_format == "dummy" else self.model

    def placement(self) -> Placement:
        """The server is a process of its own; vLLM runs on a CPU too."""
        return Placement.OWN_PROCESS if self.url is None else Placement.REMOTE

    def gpu_memory(self, total_mib: float) -> GpuMemory | None:
        """The share that vLLM takes at once."""
        if self.placement() is Placement.REMOTE:
            return None
        return GpuMemory(
            self.gpu_memory_share * total_mib, f"{self.gpu_memory_share:.0%} of the card: weights, work and KV cache"
        )

    def gpu_problem(self, total_mib: float, card: str) -> str | None:
        """A share that cannot hold Gemma's weights."""
        share_mib, needed_mib = self.gpu_memory_share * total_mib, GEMMA_W4A16_BYTES / MIB
        if self.url is not None or share_mib >= needed_mib or "gemma-3-27b" not in self.model.lower():
            return None
        return (
            f"llm.gpu_memory_share leaves {gigabytes(share_mib)} of {gigabytes(total_mib)} on {card}, the weights "
            f"alone take {gigabytes(needed_mib)}; raise it, or take a larger card"
        )

    def machine_problem(self) -> str | None:
        """No command that starts the server."""
        if self.url is not None or shutil.which(self.command[0]) is not None:
            return None
        return (
            f"llm: {self.command[0]} is not installed; run: pip install 'turngap[gpu]', or name another environment's "
            "in llm.command, or a running server in llm.url"
        )

    def with_environment(self, environment: Mapping[str, str]) -> Self:
        """The server's environment; the profile's own entries win."""
        return self.model_copy(update={"environment": {**environment, **self.environment}})
