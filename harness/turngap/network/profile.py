"""Network profiles: what each direction of a call's connection does to its messages. YAML in, frozen models out.

Times are added to those of the real connection; `clean` adds nothing.
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
"""The network that does nothing; it is recorded for runs without a network."""

Milliseconds = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)]


class Stall(FrozenModel):
    """Pauses in which nothing passes; what was sent meanwhile arrives at the end, all at once."""

    every_s: float = Field(ge=0.1, le=3600, allow_inf_nan=False)
    """Mean time from the end of one stall to the start of the next; drawn from an exponential distribution."""
    lasts_ms: float = Field(gt=0, le=10_000, allow_inf_nan=False)


class Burst(FrozenModel):
    """What is sent is collected, and delivered in one piece once a period."""

    period_ms: float = Field(gt=0, le=2000, allow_inf_nan=False)
    """The phase is drawn once a call."""


class Direction(FrozenModel):
    """One direction of the connection. By default it does nothing."""

    delay_ms: Milliseconds = 0
    """The minimum transit time of a message."""
    jitter_ms: Milliseconds = 0
    """Drawn for each message and added to its delay: exponential, cut off at this value, its 99th percentile."""
    loss: Share = 0
    """Share of the frames (20 ms of audio) that are lost."""
    loss_run: float | None = Field(None, ge=1, le=500, allow_inf_nan=False)
    """The mean number of frames lost in a row; by default losses are independent."""
    duplicate: Share = 0
    """Share of the frames that arrive twice."""
    burst: Burst | None = None
    stall: Stall | None = None

    @model_validator(mode="after")
    def _check_loss_run(self) -> Direction:
        if self.loss_run is not None and not self.loss:
            raise ValueError("`loss_run` needs `loss`: without it no frame is lost")
        return self


class NetworkProfile(FrozenModel):
    """A network profile file; directions are named from the caller's side."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=documents.NAME)
    description: str = ""
    uplink: Direction = Direction()
    """From the caller to the agent."""
    downlink: Direction = Direction()
    """From the agent to the caller."""
    disconnect_after_s: float | None = Field(None, gt=0, le=3600, allow_inf_nan=False)
    """The time after the stream's start at which the connection breaks, without a close message."""

    @model_validator(mode="after")
    def _check_downlink(self) -> NetworkProfile:
        if self.downlink.duplicate:
            raise ValueError(
                "`downlink.duplicate` is not possible: a phone drops duplicates; only `uplink` can have it"
            )
        return self

    @property
    def does_nothing(self) -> bool:
        """Whether it changes nothing."""
        return self.uplink == self.downlink == Direction() and self.disconnect_after_s is None


def list_networks() -> list[str]:
    """Return the names of the networks that ship."""
    return documents.list_shipped(SHIPPED)


def load_network(name_or_path: str) -> NetworkProfile:
    """Return the network of that name, or the one in that file.

    Raises:
        ScenarioError: it is unknown or malformed.
    """
    path = documents.locate(name_or_path, SHIPPED, "network", ScenarioError)
    return documents.load(path, NetworkProfile, ScenarioError)
