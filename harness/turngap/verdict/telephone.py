"""How a run's perceived gap depends on the telephone network. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from turngap.model.budget import Budget, Metric
from turngap.model.telephone import TelephoneFigures, WhatIf
from turngap.model.turn import TurnRecord
from turngap.network.telephone import TelephoneNetwork, delay_quantiles_ms
from turngap.verdict import stats

WHAT_IF_MS = 230.0
"""The time between the platform's turn gap and the caller's ear in Twilio's guidance: `twilio-mouth-to-ear`."""


def describe_network(network: TelephoneNetwork) -> TelephoneFigures:
    """Return the figures of a run's telephone network before it has turns."""
    median_ms, p95_ms = delay_quantiles_ms(network, 0.5, 0.95)
    return TelephoneFigures(network=network, median_ms=median_ms, p95_ms=p95_ms)


def vary_network(figures: TelephoneFigures, turns: Sequence[TurnRecord], budget: Budget | None) -> TelephoneFigures:
    """Return the figures with the perceived gap's p95 under other fixed delays, over the valid scored `turns`.

    The largest delay that the budget bears is its limit less the upper bound on the turn gap's quantile.
    """
    gaps = [
        turn.turn_gap_ms if turn.is_good else None for turn in turns if turn.is_valid and turn.expectation.needs_answer
    ]
    rows = [("none, at the media edge", 0.0), (f"{WHAT_IF_MS:g} ms", WHAT_IF_MS)]
    limits = [] if budget is None else [limit for limit in budget.limits if limit.metric == Metric.PERCEIVED_GAP]
    bounds = [(limit, stats.quantile_upper(gaps, limit.quantile, limit.confidence)) for limit in limits]
    allowances = [None if bound is None else limit.at_most - bound for limit, bound in bounds]
    known = [allowance for allowance in allowances if allowance is not None]
    return figures.model_copy(
        update={
            "what_if": tuple(_add(name, gaps, added_ms) for name, added_ms in rows) if gaps else (),
            "holds_up_to_ms": min(known) if known and len(known) == len(allowances) else None,
        }
    )


def _add(name: str, gaps: Sequence[float | None], added_ms: float) -> WhatIf:
    later = [None if gap is None else gap + added_ms for gap in gaps]
    return WhatIf(network=name, p95_ms=stats.percentile(later, 0.95), p95_upper_ms=stats.quantile_upper(later))
