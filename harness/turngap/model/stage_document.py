"""What `turngap stage STAGE --json` prints, as far as a report needs it: how far an engine is from its floor."""

from __future__ import annotations

from pydantic import ConfigDict, Field
from turngap_agent.documents import FrozenModel


class _Document(FrozenModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PartFloor(_Document):
    """A part of the engine's work, in the mean of the units."""

    floor_ms: float = Field(ge=0)
    """The least time for its bytes and operations at the rates that were measured on the machine."""
    measured_ms: float = Field(ge=0)
    distance: float | None = None
    """Measured over floor."""
    bound: str = ""
    """What the floor is made of: memory bytes, cache bytes or operations."""


class StageFloor(_Document):
    """The floor of a whole unit of work: one reply, one utterance."""

    ms: float = Field(gt=0)
    measured_ms: float = Field(gt=0)
    distance: float = Field(gt=0)
    cache: str = ""
    """Which weights fit into the last cache."""
    parts: dict[str, PartFloor] = Field(default_factory=dict)


class StageMemory(_Document):
    """Resident memory of a process with this engine alone, MiB."""

    before: float | None = None
    load: float | None = None
    steady: float | None = None
    peak: float | None = None


class StageDocument(_Document):
    """One engine, measured alone."""

    stage: str
    """vad, turn, stt, llm or tts."""
    profile: str
    engine: str = ""
    floor: StageFloor | None = None
    memory_mib: StageMemory = Field(default_factory=StageMemory)
    reasons: dict[str, str] = Field(default_factory=dict)
    """Why a field is null."""

    @property
    def no_floor(self) -> str:
        """Why there is no floor; "" if there is one."""
        return "" if self.floor is not None else self.reasons.get("floor_ms", "it was measured without its floor")
