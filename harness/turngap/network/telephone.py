"""The telephone network between the caller's ear and the agent's media edge: its distribution, one delay for each call.

A leg with a spread is log-normal, as network delays are skewed to the right: with median m and 95th percentile p it is
m * exp(z * ln(p / m) / 1.645), z standard normal. Legs are independent of each other.

The delays of a run's n calls are the quantiles (i + 0.5) / n of the network, i = 0 to n - 1, in a fixed order in which
the first calls have nearly the network's distribution too (`plan_delays_ms`). Nothing is drawn: neither a seed nor the
name of an utterance changes the delays of a run.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.special import ndtri  # the normal quantile alone; scipy.stats takes most of a second to import
from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.errors import ScenarioError
from turngap_agent.profile.sections import NO_DELAY, Delay, Leg, Spread

SHIPPED = Path(__file__).resolve().parents[1] / "scenarios" / "telephone"
DEFAULT = "twilio-edge"
Floats = npt.NDArray[np.float64]
_Z95 = float(ndtri(0.95))
_DRAWS = 50_000
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


class TelephoneNetwork(FrozenModel):
    """A delay for each call: the sum of independent legs, or one of the delays that were measured."""

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


def list_telephone_networks() -> list[str]:
    """Return the names of the telephone networks that ship."""
    return documents.list_shipped(SHIPPED)


def load_telephone_network(name_or_path: str) -> TelephoneNetwork:
    """Return the telephone network with that name, or the one in that file.

    Raises:
        ScenarioError: it is unknown or malformed.
    """
    path = documents.locate(name_or_path, SHIPPED, "telephone network", ScenarioError)
    return documents.load(path, TelephoneNetwork, ScenarioError)


@functools.lru_cache(maxsize=8)
def plan_delays_ms(network: TelephoneNetwork, count: int) -> tuple[float, ...]:
    """Return the delays of a run's calls, ms, by their place in the plan from 0; shape (count,).

    They are the quantiles (i + 0.5) / count, in the order of the golden ratio's multiples modulo 1 (Weyl, 1916): the
    first calls have nearly the same distribution, and so have every second, third, ... one, so that turns of one kind
    that come at regular distances share no part of it.
    """
    ranks = np.argsort(np.argsort(np.arange(count) * _GOLDEN_RATIO % 1))
    return tuple(_quantiles_ms(network, (ranks + 0.5) / max(1, count), "inverted_cdf").tolist())


def delay_quantiles_ms(network: TelephoneNetwork, *quantiles: float) -> tuple[float, ...]:
    """Return quantiles of the delay, ms; `quantiles` are between 0 and 1."""
    return tuple(_quantiles_ms(network, np.asarray(quantiles), "linear").tolist())


def _quantiles_ms(network: TelephoneNetwork, quantiles: Floats, method: Literal["linear", "inverted_cdf"]) -> Floats:
    """Return quantiles of the measured values, of the one leg that has a spread, or of 50,000 seeded draws of the sum.

    `method`: whether measured and drawn values are interpolated.
    """
    if network.measured_ms:
        return np.asarray(np.quantile(np.asarray(network.measured_ms), quantiles, method=method))
    fixed_ms = sum(leg.median_ms for leg in network.legs.values() if leg.p95_ms == leg.median_ms)
    spread = [leg for leg in network.legs.values() if leg.p95_ms != leg.median_ms]
    if len(spread) > 1:
        rng = np.random.default_rng(0)
        draws = sum((_leg_ms(leg, rng.standard_normal(_DRAWS)) for leg in spread), np.zeros(_DRAWS))
        return fixed_ms + np.asarray(np.quantile(draws, quantiles, method=method))
    return sum((_leg_ms(leg, ndtri(quantiles)) for leg in spread), np.full(len(quantiles), fixed_ms))


def _leg_ms(leg: Spread, z: Floats) -> Floats:
    return leg.median_ms * np.exp(z * math.log(leg.p95_ms / leg.median_ms) / _Z95)
