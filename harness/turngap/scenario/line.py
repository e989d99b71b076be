"""What a scenario's telephone line does to the caller's audio."""

from __future__ import annotations

from pydantic import Field
from turngap_agent.documents import FrozenModel


class Echo(FrozenModel):
    """The agent's audio, as played, back in the caller's."""

    attenuation_db: float = Field(30.0, ge=0, le=60)
    delay_ms: int = Field(150, ge=0, le=1000)


class Line(FrozenModel):
    """Degradations, in the order in which they are applied; the default does nothing."""

    level_db: float = Field(0.0, ge=-40, le=20)
    """Gain of the caller's side: voice, noise behind it, comfort noise."""
    echo: Echo | None = None
    noise_dbfs: float | None = Field(None, ge=-90, le=-20)
    """White noise of the line itself, added to all there is."""
    dc_offset: float = Field(0.0, ge=-0.5, le=0.5)
    """As a part of full scale."""
    clip_dbfs: float | None = Field(None, ge=-40, le=0)
    """Peaks are cut here."""
    loss_percent: float = Field(0.0, ge=0, le=50)
    """Frames that never come."""


CLEAN = Line()
