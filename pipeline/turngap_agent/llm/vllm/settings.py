"""Declares the engine: A chat model behind vLLM's OpenAI server."""

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
"""By repository on the hub: the commit that this version of turngap uses."""
ARCHITECTURES = Path(__file__).parent / "architectures"
"""Configurations without weights, by name."""
GEMMA_W4A16_BYTES = 19.0e9
"""The checkpoint's size, about (`weights.toml`): the larger figure, until it is measured. By arithmetic it is 16 GB:
25.6 B of 4 bits and a 16-bit scale for 128 of them, and embeddings, 1.41 B x 2 bytes. The least that a share must leave
room for."""


class Restart(FrozenModel):
    """When a server that died or hangs is restarted."""

    first_s: float = Field(1, gt=0)
    """The wait before the first restart; doubled after each one that fails."""
    longest_s: float = Field(60, gt=0)
    """The longest wait."""
    calm_s: float = Field(300, gt=0)
    """After a server was ready for this long, the next wait is `first_s` again."""


class VllmSettings(LlmSettings):
    """A chat model behind vLLM's OpenAI server: one that the agent starts and supervises, or the one at `url`."""

    install = "turngap[gpu]"
    packages = ("httpx",)
    keeps_prompts = True
    lower_gpu_memory = "lower llm.gpu_memory_share"

    engine: Literal["vllm"]
    url: str | None = Field(None, pattern=r"^https?://\S+$")
    """A server that runs already, with the path before `/chat/completions`: "http://host:8000/v1"."""
    model: str = "RedHatAI/gemma-3-27b-it-quantized.w4a16"
    """An entry of `weights.toml`, a repository of the hub, a folder, an architecture that ships here, or the model's
    name at `url`."""
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    """The commit on the hub; null: the one in `REVISIONS`, if any."""
    system_prompt: str
    max_tokens: int = Field(48, ge=1, le=2048)
    temperature: float = Field(0, ge=0, le=2)
    apology: str = "I am sorry, I have a problem at the moment. Please try again in a minute."
    """Spoken instead of a reply that fails; the turn counts as failed. With "" the agent stays silent."""

    # For a server that the agent starts.
    command: tuple[str, ...] = Field(("vllm", "serve"), min_length=1)
    """What starts it, without the model and its options. Another environment's: ["/opt/vllm/bin/vllm", "serve"]."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Added to the agent's own environment."""
    port: int = Field(0, ge=0, le=65535)
    """On 127.0.0.1; 0: a free one."""
    load_format: Literal["auto", "dummy"] = "auto"
    """`dummy` fills the architecture with random weights: nothing is downloaded but its configuration."""
    dtype: str = "auto"
    gpu_memory_share: float = Field(0.5, gt=0, le=1)
    """Share of the GPU's memory: weights, working memory, and the rest for the KV cache."""
    kv_cache_mib: int | None = Field(None, ge=1)
    """The KV cache's size, instead of what the share leaves for it."""
    max_context: int = Field(4096, ge=64)
    """The most tokens of a prompt with its reply."""
    max_sequences: int = Field(16, ge=1)
    """How many requests are computed at once; further ones wait."""
    max_batched_tokens: int | None = Field(None, ge=16)
    """The most tokens of prompts and replies that one step computes: bounds how long a long prompt holds up others'
    tokens. null: vLLM's own choice, which differs by card."""
    tensor_parallel: int = Field(1, ge=1, le=64)
    """Each layer is divided over so many GPUs."""
    data_parallel: int = Field(1, ge=1, le=64)
    """So many copies of the model, each on GPUs of its own. A call keeps to one of them, so that its prompts stay in
    that one's cache."""
    eager: bool = False
    """No compilation and no CUDA graphs: starts sooner, answers later."""
    seed: int = 0
    otlp_traces_endpoint: str | None = None
    """Where vLLM's own spans go; they continue the trace of the attempt."""
    extra_arguments: tuple[str, ...] = ()
    """Further options of `vllm serve`, passed on unchanged."""

    start_limit_s: float = Field(1800, gt=0)
    """A server that is not ready after this time has failed to start."""
    stall_limit_s: float = Field(10, gt=0)
    """A reply, or a health check, without progress for this long has failed."""
    restart: Restart = Restart()

    # For each request.
    priority: bool = True
    """Serve callers who wait before speculative work. A server at `url` must run `--scheduling-policy priority`."""
    ignore_eos: bool = False
    """Generate all of `max_tokens`: random weights end a reply anywhere."""
    prompt: Literal["chat", "token_ids"] = "chat"
    """`token_ids`: stand-in ids, a fixed number per word, if the model's tokenizer is not available; needs `script`."""
    script: str = ""
    """Spoken instead of the model's words, one word per token: random weights produce none."""

    @model_validator(mode="after")
    def _check_script(self) -> VllmSettings:
        if self.prompt == "token_ids" and not self.script.strip():
            raise ValueError("`prompt: token_ids` needs `script`: generated ids are not words")
        return self

    @property
    def served_model(self) -> str:
        """The model as `vllm serve` takes it: the folder of an architecture that ships here, or `model` unchanged."""
        shipped = ARCHITECTURES / self.model
        return str(shipped) if "/" not in self.model and (shipped / "config.json").is_file() else self.model

    @property
    def n_gpus(self) -> int:
        """How many GPUs a server that is started here takes."""
        return self.tensor_parallel * self.data_parallel

    @property
    def pinned_revision(self) -> str | None:
        """The commit to use; None if the model is not pinned (a folder, another repository)."""
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
        if self.url is None and self.n_gpus > 1:
            return (
                f"llm.tensor_parallel and llm.data_parallel need {self.n_gpus} GPUs, and an agent's engines share one: "
                "place it with `engine: replicas` and replication.gpus, or start it elsewhere and give llm.url"
            )
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
