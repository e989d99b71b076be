"""Settings of the language model on vLLM."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from turngap_agent.documents import FrozenModel

REVISIONS = {
    # Gemma 3 27B, INT4 weights and 16-bit activations (compressed-tensors); Gemma's licence.
    "RedHatAI/gemma-3-27b-it-quantized.w4a16": "2b537554d6c6f6368945e8df4e5fb7bbbb5d56c9",
}
"""The commit that this version of turngap takes of a model on the hub."""


ARCHITECTURES = Path(__file__).parents[1] / "llm" / "vllm" / "architectures"
"""Configurations without weights, by name."""


class Restart(FrozenModel):
    """When a server that died or hangs is started again."""

    first_s: float = Field(1, gt=0)
    """The wait before the first start; doubled after each one that fails."""
    longest_s: float = Field(60, gt=0)
    """The wait never grows over this."""
    calm_s: float = Field(300, gt=0)
    """A server that was ready for so long is trusted again: the next wait is the first."""


class VllmSettings(FrozenModel):
    """A chat model behind vLLM's OpenAI server: one that is started and supervised here, or the one at `url`."""

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
