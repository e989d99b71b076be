"""Network profiles: what each direction of a call's connection does to the messages on it. YAML in, frozen models out.

Times are added to those of the connection that is really there; `clean` adds nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.errors import ScenarioError

SHIPPED = Path(__file__).resolve().parents[1] / "scenarios" / "networks"
CLEAN = "clean"
"""The network that does nothing; a run without a network is made under it."""

Milliseconds = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)]


class Stall(FrozenModel):
    """Now and then nothing passes; what was sent meanwhile arrives at the end of it, all at once."""

    every_s: float = Field(ge=0.1, le=3600, allow_inf_nan=False)
    """Mean time from one's end to the next one's begin; when they come is drawn (exponential)."""
    lasts_ms: float = Field(gt=0, le=10_000, allow_inf_nan=False)


class Burst(FrozenModel):
    """What is sent is collected, and passed on in one piece every so often."""

    period_ms: float = Field(gt=0, le=2000, allow_inf_nan=False)
    """The grid's phase is drawn once a call."""


class Direction(FrozenModel):
    """One direction of the connection. Without a value it does nothing."""

    delay_ms: Milliseconds = 0
    """The least a message takes."""
    jitter_ms: Milliseconds = 0
    """Drawn for each message and added: exponential, cut off at this value, its 99th percentile."""
    loss: Share = 0
    """Share of the frames (20 ms of audio) that are lost."""
    loss_run: float | None = Field(None, ge=1, le=500, allow_inf_nan=False)
    """How many are lost in a row, on average; independently of one another when left out."""
    duplicate: Share = 0
    """Share of the frames that arrive twice."""
    burst: Burst | None = None
    stall: Stall | None = None

    @model_validator(mode="after")
    def _reachable(self) -> Direction:
        if self.loss_run is not None and not self.loss:
            raise ValueError("`loss_run` goes with `loss`: without it nothing is lost")
        return self


class NetworkProfile(FrozenModel):
    """A network profile file; both directions as the caller has them."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=documents.NAME)
    description: str = ""
    uplink: Direction = Direction()
    """From the caller to the agent."""
    downlink: Direction = Direction()
    """From the agent to the caller."""
    disconnect_after_s: float | None = Field(None, gt=0, le=3600, allow_inf_nan=False)
    """The connection breaks that long after the stream's start, without a close message."""

    @model_validator(mode="after")
    def _plausible(self) -> NetworkProfile:
        if self.downlink.duplicate:
            raise ValueError("`downlink.duplicate`: a phone drops what comes twice; only `uplink` can have it")
        return self

    @property
    def does_nothing(self) -> bool:
        """True for one that changes nothing."""
        return self.uplink == self.downlink == Direction() and self.disconnect_after_s is None


def names() -> list[str]:
    """The profiles that ship."""
    return documents.list_shipped(SHIPPED)


def load(name_or_path: str) -> NetworkProfile:
    """The profile of that name, or in that file.

    Raises:
        ScenarioError: it is unknown or malformed.
    """
    path = documents.locate(name_or_path, SHIPPED, "network", ScenarioError)
    return documents.load(path, NetworkProfile, ScenarioError)
