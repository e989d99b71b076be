"""The telephone network: presets, the distribution of its delay, one draw a call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
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


@given(st.text(min_size=1), st.floats(0, 1000))
def test_fixed_legs_add_up_to_the_same_for_every_call(key: str, delay_ms: float) -> None:
    """Without a spread there is nothing to draw."""
    assert telephone.draw_delay_ms(network(in_ms=delay_ms, decode_ms=25), key) == pytest.approx(delay_ms + 25)


def test_a_delay_is_drawn_by_the_utterance_alone() -> None:
    """The same utterance has the same delay in every run; those of many utterances have the network's quantiles."""
    preset = telephone.load_telephone_network("itu-regional")
    delays = [telephone.draw_delay_ms(preset, f"utterance {n}") for n in range(4000)]
    assert delays == [telephone.draw_delay_ms(preset, f"utterance {n}") for n in range(4000)]
    assert np.quantile(delays, (0.5, 0.95)) == pytest.approx(telephone.delay_quantiles_ms(preset, 0.5, 0.95), rel=0.02)


def test_measured_delays_replace_the_legs() -> None:
    """Each draw is one of the measured values."""
    measured = network(measured_ms=(80.0, 120.0, 400.0))
    drawn = {telephone.draw_delay_ms(measured, str(n)) for n in range(100)}
    assert drawn == {80.0, 120.0, 400.0}
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
