"""The telephone network: presets, the distribution of its delay, and of the delays of a run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from turngap.network import telephone
from turngap.network.telephone import TelephoneNetwork
from turngap_agent.errors import ScenarioError
from turngap_agent.profile.sections import Spread

SPREADS = st.tuples(st.floats(1, 300), st.floats(1, 3)).map(
    lambda pair: Spread(median_ms=pair[0], p95_ms=pair[0] * pair[1])
)


def network(**legs: object) -> TelephoneNetwork:
    """A network with those legs."""
    return TelephoneNetwork.model_validate({"name": "test", "source": "a test", **legs})


@pytest.mark.parametrize("name", telephone.list_telephone_networks())
def test_every_preset_has_a_source_and_a_distribution(name: str) -> None:
    """Whoever reads a figure can look up where its network comes from."""
    preset = telephone.load_telephone_network(name)
    median_ms, p95_ms = telephone.delay_quantiles_ms(preset, 0.5, 0.95)
    assert preset.name == name
    assert len(preset.source) > 40
    assert 0 <= median_ms <= p95_ms
    assert (p95_ms > median_ms) == (name != "none")


def test_the_default_is_the_guidance_of_the_platform() -> None:
    """40 to 70 ms of transmission and 55 fixed: median 95, p95 125."""
    assert telephone.delay_quantiles_ms(
        telephone.load_telephone_network(telephone.DEFAULT), 0.5, 0.95
    ) == pytest.approx((95, 125), abs=0.5)


def test_an_unknown_network_is_named() -> None:
    """The message lists what there is."""
    with pytest.raises(ScenarioError, match="twilio-edge"):
        telephone.load_telephone_network("twillio")


@given(SPREADS)
def test_one_leg_has_the_quantiles_that_it_states(leg: Spread) -> None:
    """A log-normal leg has its median and its 95th percentile (50,000 draws: within 2 %)."""
    quantiles = telephone.delay_quantiles_ms(network(in_ms=leg), 0.5, 0.95)
    assert quantiles == pytest.approx((leg.median_ms, leg.p95_ms), rel=0.02)


def test_legs_are_independent_of_each_other() -> None:
    """Two equal legs: the p95 of the sum is under the sum of the p95s, and the median over the sum of medians."""
    leg = Spread(median_ms=100, p95_ms=200)
    median_ms, p95_ms = telephone.delay_quantiles_ms(network(in_ms=leg, out_ms=leg), 0.5, 0.95)
    assert 200 < median_ms < 215
    assert 300 < p95_ms < 370


@given(st.integers(1, 300), st.floats(0, 1000))
def test_fixed_legs_add_up_to_the_same_for_every_call(count: int, delay_ms: float) -> None:
    """Without a spread all calls have one delay."""
    delays = telephone.plan_delays_ms(network(in_ms=delay_ms, decode_ms=25), count)
    assert delays == pytest.approx([delay_ms + 25] * count)


@pytest.mark.parametrize("count", [60, 94, 190, 206, 300])
@pytest.mark.parametrize(("name", "tolerance_ms"), [("twilio-edge", 3.5), ("itu-regional", 7.5)])
def test_any_first_calls_have_the_networks_distribution(name: str, tolerance_ms: float, count: int) -> None:
    """A run may stop after 60 turns or later: median and p95 of what it has called are those that are stated.

    7.5 ms of 271 are a tenth of the spread between median and p95, as 3.5 of 125 are.
    """
    preset = telephone.load_telephone_network(name)
    delays = np.array(telephone.plan_delays_ms(preset, count))
    stated = telephone.delay_quantiles_ms(preset, 0.5, 0.95)
    for called in range(60, count + 1):
        median_ms, p95_ms = np.quantile(delays[:called], (0.5, 0.95))
        assert median_ms == pytest.approx(stated[0], abs=tolerance_ms / 2)
        assert p95_ms == pytest.approx(stated[1], abs=tolerance_ms)
        assert np.count_nonzero(delays[:called] > stated[1]) == pytest.approx(0.05 * called, abs=1.6)


@pytest.mark.parametrize("name", ["twilio-edge", "itu-regional"])
def test_all_calls_have_the_networks_quantiles(name: str) -> None:
    """Evenly spaced, each once: with 206 calls the highest is the quantile 205.5 / 206."""
    preset = telephone.load_telephone_network(name)
    expected = telephone.delay_quantiles_ms(preset, *((place + 0.5) / 206 for place in range(206)))
    assert sorted(telephone.plan_delays_ms(preset, 206)) == pytest.approx(expected, rel=0.002)


@given(st.integers(2, 5))
def test_turns_at_regular_distances_have_the_whole_distribution(stride: int) -> None:
    """Strata are spread over the order: none of them has the short delays alone."""
    preset = telephone.load_telephone_network("twilio-edge")
    delays = np.array(telephone.plan_delays_ms(preset, 300))
    for first in range(stride):
        assert np.median(delays[first::stride]) == pytest.approx(95, abs=3)
        assert np.quantile(delays[first::stride], 0.9) == pytest.approx(np.quantile(delays, 0.9), abs=5)


def test_measured_delays_replace_the_legs() -> None:
    """Each delay is one of the measured values, each as often as another."""
    measured = network(measured_ms=(80.0, 120.0, 400.0))
    assert Counter(telephone.plan_delays_ms(measured, 99)) == {80.0: 33, 120.0: 33, 400.0: 33}
    assert telephone.delay_quantiles_ms(measured, 0.5, 1.0) == (120.0, 400.0)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    """A path is loaded as a preset is."""
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nsource: measured by hand\nin_ms: {median_ms: 50, p95_ms: 90}\nout_ms: 20\n")
    assert telephone.load_telephone_network(str(file)).legs["out"] == Spread(median_ms=20, p95_ms=20)


def test_an_impossible_spread_is_refused(tmp_path: Path) -> None:
    """The line of the mistake is named."""
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nsource: x\nin_ms: {median_ms: 90, p95_ms: 50}\n")
    with pytest.raises(ScenarioError, match=r"mine.yaml:3.*under"):
        telephone.load_telephone_network(str(file))


def test_a_spread_without_bounds_is_refused() -> None:
    """Its draws would not be finite."""
    with pytest.raises(ValidationError, match="10,000 times"):
        Spread(median_ms=1e-300, p95_ms=1)
    widest = network(in_ms=Spread(median_ms=0.001, p95_ms=10), out_ms=Spread(median_ms=0.001, p95_ms=10))
    assert np.isfinite(telephone.plan_delays_ms(widest, 50)).all()
