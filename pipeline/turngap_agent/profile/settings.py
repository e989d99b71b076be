"""What all engines' settings have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from turngap_agent.documents import FrozenModel

StreamPriority = Literal["high", "normal"]
"""Of an engine's work on the GPU beside that of the agent's other engines: high goes first where both wait."""


class EngineSettings(FrozenModel):
    """What every engine that works on threads of its own has."""

    cores: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(None, min_length=1)
    """The cores its threads may run on, as Linux counts them; null: all the process may."""
