"""The settings of replicated engines, one class a stage: which engine, how many replicas, and what each takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from turngap_agent.documents import FrozenModel
from turngap_agent.engines import LlmSettings, LoadedEngine, Placement, SttSettings, TtsSettings
from turngap_agent.engines.section import Section
from turngap_agent.engines.settings import EngineSettings


class Replication(FrozenModel):
    """How many replicas there are, and what each takes of a machine."""

    number: int = Field(2, ge=1, le=1000)
    gpus: float = Field(0.0, ge=0)
    """GPUs a replica, as Ray counts them: 0.5 is half a card, and 2 are two that only this replica sees."""
    cpus: float = Field(1.0, ge=0)
    """Cores a replica."""
    ray: str = Field("auto", min_length=1)
    """The cluster, HOST:PORT; `auto`: the one that this machine belongs to; `local`: one of this machine alone."""
    at_once: int = Field(64, ge=1)
    """Requests that one replica takes at the same time; more wait for it."""
    ready_within_s: float = Field(600.0, gt=0)
    """Time limit for all replicas to load."""


class _Replicated(EngineSettings):
    """What the three classes have in common."""

    install: ClassVar[str] = "turngap[cluster]"
    packages: ClassVar[tuple[str, ...]] = ("ray",)
    engine: Literal["replicas"]
    replication: Replication = Replication()
    of: EngineSettings

    @model_validator(mode="after")
    def _check_depth(self) -> Self:
        if self.of.engine == self.engine:
            raise ValueError("replicas of replicas: name the engine itself in `of`")
        return self

    def placement(self) -> Placement:
        """Wherever Ray places them: nothing of this machine's GPU."""
        return Placement.REMOTE

    def pinned_weights(self) -> str | None:
        """Those of the replicated engine, which each replica's node needs."""
        return self.of.pinned_weights()

    def build(self) -> LoadedEngine:
        """Place the replicas and wait until they are warm."""
        from turngap_agent.replicas.engine import ReplicatedEngine

        return ReplicatedEngine(self.stage, self.of, self.replication)


class ReplicatedSttSettings(_Replicated, SttSettings):
    """Speech to text by replicas of another engine."""

    of: Annotated[SttSettings, Section("stt")]
    """The engine that is replicated, with its settings."""


class ReplicatedLlmSettings(_Replicated, LlmSettings):
    """A language model by replicas of another engine."""

    of: Annotated[LlmSettings, Section("llm")]
    """The engine that is replicated, with its settings."""

    @property
    def keeps_prompts(self) -> bool:  # type: ignore[override]  # of the class elsewhere
        """Whether the replicated engine keeps prompts."""
        return self.of.keeps_prompts

    @model_validator(mode="before")
    @classmethod
    def _take_over(cls, data: Any) -> Any:
        """What the agent itself reads of a language model's settings is that of the replicated engine."""
        if not isinstance(data, Mapping) or not isinstance(data.get("of"), Mapping):
            return data
        own = {key: data["of"][key] for key in ("max_tokens", "early_phrase", "apology") if key in data["of"]}
        return {**own, **data}


class ReplicatedTtsSettings(_Replicated, TtsSettings):
    """A synthesiser by replicas of another engine."""

    of: Annotated[TtsSettings, Section("tts")]
    """The engine that is replicated, with its settings."""

    @property
    def says_words(self) -> bool:  # type: ignore[override]  # of the class elsewhere
        """Whether the replicated engine's sound is speech."""
        return self.of.says_words
