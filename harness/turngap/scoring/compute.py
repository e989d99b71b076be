"""What a turn cost the agent's engines: the work that was heard, and the work that was thrown away. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from turngap_agent import tracing
from turngap_agent.tracing import Span


@dataclass(frozen=True, slots=True)
class Compute:
    """Busy time of the engines in one turn, ms; None where the agent does not tell."""

    heard_ms: float | None
    """Of the attempt that was heard."""
    wasted_ms: float | None
    """Of the turn's attempts of which nothing was ever sent."""


def of_turn(begun: Iterable[Span] | None, heard: Span | None) -> Compute:
    """The work of a turn's attempts.

    Args:
        begun: The turn spans of all attempts begun in the turn, None where some may be lost.
        heard: The turn span of the one that was heard, None where there is none.
    """
    own_ms = None if heard is None else _ms(heard)
    if begun is None:
        return Compute(own_ms, None)
    thrown = [span for span in begun if span is not heard and span.attributes.get(tracing.HEARD) is not True]
    told = [ms for span in thrown if (ms := _ms(span)) is not None]
    if len(told) < len(thrown) or (heard is not None and own_ms is None and not thrown):
        return Compute(own_ms, None)
    return Compute(own_ms, sum(told))


def _ms(span: Span) -> float | None:
    value = span.attributes.get(tracing.COMPUTE_MS)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
