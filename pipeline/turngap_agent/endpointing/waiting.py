"""How much silence ends a turn, from the probability that it is over and from the pauses that this caller makes.

A pause of this caller's lasts longer than t with probability S(t), given that it has lasted until the question was
asked. If the turn is over with probability p, whoever answers after t of silence cuts the caller off with probability
(1 - p) S(t), and answers rightly with probability p. The silence asked for is the shortest t for which cut-offs are at
most the profile's share of right answers, so that it is short where the turn may well be over and long where it surely
is not. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from turngap_agent.profile.pace import PauseLengths

_NORMAL = NormalDist()


def median_pause_ms(lengths: PauseLengths, own_ms: Sequence[float]) -> float:
    """Return the median of this caller's pauses, after the pauses `own_ms` (all over 0) were heard.

    The posterior mean of a log-normal's location with a normal prior (Gelman et al., *Bayesian Data Analysis*, 2.5).
    """
    total = lengths.weight + len(own_ms)
    if not total:
        return lengths.median_ms
    logs = lengths.weight * math.log(lengths.median_ms) + sum(math.log(ms) for ms in own_ms)
    return math.exp(logs / total)


def survival(length_ms: float, median_ms: float, spread: float) -> float:
    """Return the probability that a pause lasts longer than `length_ms`."""
    return 1.0 if length_ms <= 0 else 1 - _NORMAL.cdf(math.log(length_ms / median_ms) / spread)


def silence_ms(
    probability: float, cut_off_rate: float, asked_ms: float, lengths: PauseLengths, own_ms: Sequence[float] = ()
) -> float:
    """Return the silence that ends a turn which is over with `probability`; infinite where no silence is enough.

    Args:
        probability: 0-1, as judged after `asked_ms` of silence; less is never asked for.
        cut_off_rate: how many cut-offs are taken for one right answer, 0-1, both excluded.
        asked_ms: the silence after which the model was asked.
        lengths: pauses of callers in general.
        own_ms: this caller's pauses of `asked_ms` and more so far in the call.
    """
    median_ms = median_pause_ms(lengths, own_ms)
    goes_on = 1 - probability
    if goes_on <= cut_off_rate * probability:
        return asked_ms
    share = cut_off_rate * probability / goes_on * survival(asked_ms, median_ms, lengths.spread)
    if share <= 0:
        return math.inf
    return max(asked_ms, median_ms * math.exp(-lengths.spread * _NORMAL.inv_cdf(share)))
