"""The telephone network of a run, and how its perceived gap depends on it."""

from __future__ import annotations

from turngap_agent.documents import FrozenModel

from turngap.network.telephone import TelephoneNetwork


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
