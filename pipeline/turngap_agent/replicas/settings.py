"""The settings of replicated engines, one class a stage: which engine, how many replicas, and what each takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from turngap_agent.documents import FrozenModel
from turngap_agent.engines import LlmSettings, LoadedEngine, Placement, SttSettings, TtsSettings, registry
from turngap_agent.engines.section import Section
from turngap_agent.engines.settings import EngineSettings
from turngap_agent.errors import TurngapError


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
    taken_over: ClassVar[tuple[str, ...]] = ()
    """What the agent itself reads of the settings: that of the replicated engine, unless it is given beside it."""
    engine: Literal["replicas"]
    replication: Replication = Replication()
    of: EngineSettings

    @model_validator(mode="before")
    @classmethod
    def _take_over(cls, data: Any) -> Any:
        try:
            of = data["of"]
            fields = registry.find(cls.stage, of["engine"]).model_fields
        except (TurngapError, KeyError, TypeError):  # it is said where `of` is read
            return data
        return {name: of.get(name, fields[name].default) for name in cls.taken_over} | dict(data)

    @model_validator(mode="after")
    def _check_depth(self) -> Self:
        if self.of.engine == self.engine:
            raise ValueError("replicas of replicas: name the engine itself in `of`")
        return self

    def placement(self) -> Placement:
        """Wherever Ray places them: nothing of this machine's GPU."""
        return Placement.REMOTE

    @classmethod
    def note_on_random_weights(cls, data: Mapping[str, Any]) -> str:
        """That of the replicated engine."""
        return registry.find(cls.stage, data["of"]["engine"]).note_on_random_weights(data["of"])

    def for_calls(self, simultaneous: int) -> Self:
        """With the replicated engine completed for as many: all of them may be one replica's."""
        return self.model_copy(update={"of": self.of.for_calls(simultaneous)})

    def pinned_weights(self) -> str | None:
        """Those of the replicated engine, which each replica's node needs."""
        return self.of.pinned_weights()

    def build(self) -> LoadedEngine:
        """Place the replicas and wait until they are warm."""
        from turngap_agent.replicas.engine import ReplicatedEngine

        return ReplicatedEngine(self.stage, self.of, self.replication)


class ReplicatedSttSettings(_Replicated, SttSettings):
    """Speech to text by replicas of another engine."""

    taken_over = ("whole_s",)
    of: Annotated[SttSettings, Section("stt")]
    """The engine that is replicated, with its settings."""


class ReplicatedLlmSettings(_Replicated, LlmSettings):
    """A language model by replicas of another engine."""

    taken_over = ("max_tokens", "early_phrase", "apology")
    of: Annotated[LlmSettings, Section("llm")]
    """The engine that is replicated, with its settings."""

    @property
    def keeps_prompts(self) -> bool:  # type: ignore[override]  # of the class elsewhere
        """Whether the replicated engine keeps prompts."""
        return self.of.keeps_prompts


class ReplicatedTtsSettings(_Replicated, TtsSettings):
    """A synthesiser by replicas of another engine."""

    of: Annotated[TtsSettings, Section("tts")]
    """The engine that is replicated, with its settings."""

    @property
    def says_words(self) -> bool:  # type: ignore[override]  # of the class elsewhere
        """Whether the replicated engine's sound is speech."""
        return self.of.says_words
