"""The telephone network between the caller's ear and the agent's media edge: its distribution, one draw for each call.

A leg with a spread is log-normal, as network delays are skewed to the right: with median m and 95th percentile p it is
m * exp(z * ln(p / m) / 1.645), z standard normal. Legs are independent of each other.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import stats
from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.errors import ScenarioError
from turngap_agent.profile.sections import NO_DELAY, Delay, Leg, Spread

SHIPPED = Path(__file__).resolve().parents[1] / "scenarios" / "telephone"
DEFAULT = "twilio-edge"
_Z95 = float(stats.norm.ppf(0.95))
_DRAWS = 50_000


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


def draw_delay_ms(network: TelephoneNetwork, key: str) -> float:
    """Return the delay of one call, ms, drawn by `key` alone: the scored utterance's id.

    The same utterance has the same delay in every run, whatever its seed: runs can be paired, and repeating a run draws
    no new delays.
    """
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return float(_draw(network, np.random.default_rng(seed), 1)[0])


def delay_quantiles_ms(network: TelephoneNetwork, *quantiles: float) -> tuple[float, ...]:
    """Return quantiles of the delay, ms: of the measured values, or of 50,000 seeded draws of the legs' sum."""
    measured = np.asarray(network.measured_ms)
    delays = measured if len(measured) else _draw(network, np.random.default_rng(0), _DRAWS)
    return tuple(float(value) for value in np.quantile(delays, quantiles))


def _draw(network: TelephoneNetwork, rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    if network.measured_ms:
        return rng.choice(np.asarray(network.measured_ms), count)
    delays = np.zeros(count)
    for leg in network.legs.values():
        z = rng.standard_normal(count)
        delays += leg.median_ms * np.exp(z * math.log(leg.p95_ms / leg.median_ms) / _Z95)
    return delays
