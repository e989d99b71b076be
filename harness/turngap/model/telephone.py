"""The telephone network between the caller's ear and the agent's media edge, as a distribution of delays."""

from __future__ import annotations

from pydantic import Field
from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.profile.sections import NO_DELAY, Delay, Leg, Spread


class TelephoneNetwork(FrozenModel):
    """A delay per call: the sum of its independent legs, or one of the delays that were measured."""

    name: str = Field(pattern=documents.NAME)
    source: str
    """Where the figures come from; every report prints it."""
    in_ms: Leg = NO_DELAY
    """The caller's voice to the agent's media edge."""
    out_ms: Leg = NO_DELAY
    """The agent's voice from the media edge to the caller."""
    buffering_ms: Leg = NO_DELAY
    """Jitter buffers."""
    decode_ms: Leg = NO_DELAY
    measured_ms: tuple[Delay, ...] = ()
    """Measured delays, both ways together, one a turn: they replace the legs."""

    @property
    def legs(self) -> dict[str, Spread]:
        """The legs that add anything, by name; a fixed one has equal quantiles."""
        legs = {"in": self.in_ms, "out": self.out_ms, "buffering": self.buffering_ms, "decode": self.decode_ms}
        return {name: leg for name, leg in legs.items() if leg.p95_ms}


class WhatIf(FrozenModel):
    """The perceived gap's p95 with another network."""

    network: str
    """In words, such as "230 ms"."""
    p95_ms: float | None
    p95_upper_ms: float | None
    """Its 95 % upper bound; null without one."""


class TelephoneFigures(FrozenModel):
    """The telephone network of a run, and how its perceived gap depends on it."""

    network: TelephoneNetwork
    median_ms: float
    p95_ms: float
    what_if: tuple[WhatIf, ...] = ()
    holds_up_to_ms: float | None = None
    """The largest fixed delay with which the budget's limit on the perceived gap would still be shown to hold; null
    without such a limit, and below 0 if the gap alone is over it."""
