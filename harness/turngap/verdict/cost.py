"""What turns and calls cost, from the price of the machine that answers them. Pure."""

from __future__ import annotations

from turngap_agent.profile.limits import Price

from turngap.model.figures import CostFigures

_MINUTES_AN_HOUR = 60


def figures(price: Price | None, simultaneous_calls: int, call_s: float, answered_turns: int) -> CostFigures | None:
    """Cost = price an hour x the machine's wall time, shared by the calls that go on at once; None without a price.

    `simultaneous_calls` (N) share the machine, and `call_s` is the length of all calls together, in seconds:

        a call minute    = price an hour / 60 / N
        an answered turn = a call minute x (call_s / 60) / answered turns

    The machine is taken to be busy with N calls all the time, which is the least that a minute can cost; its start and
    the calibration are not counted. The second figure is None where no turn was answered.
    """
    if price is None:
        return None
    call_minute = price.an_hour / _MINUTES_AN_HOUR / simultaneous_calls
    minutes = call_s / 60
    return CostFigures(
        an_hour=price.an_hour,
        currency=price.currency,
        as_of=price.as_of,
        source=price.source,
        simultaneous_calls=simultaneous_calls,
        call_minutes=round(minutes, 3),
        answered_turns=answered_turns,
        call_minute=call_minute,
        answered_turn=call_minute * minutes / answered_turns if answered_turns else None,
    )
