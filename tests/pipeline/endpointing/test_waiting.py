"""The silence that a probability asks for: never less sure with more, and longer for a caller who pauses longer."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.endpointing.waiting import median_pause_ms, silence_ms, survival
from turngap_agent.profile.pace import PauseLengths

LENGTHS = PauseLengths(median_ms=500, spread=0.5, weight=2)
PROBABILITIES = st.floats(0, 1)
RATES = st.floats(0.01, 0.9)
OWN = st.lists(st.floats(100, 5000), max_size=6)


@given(PROBABILITIES, PROBABILITIES, RATES, OWN)
def test_the_surer_the_end_the_less_silence(one: float, other: float, rate: float, own: list[float]) -> None:
    """Falling in the probability, and never under what has passed already."""
    low, high = sorted((one, other))
    assert 200 <= silence_ms(high, rate, 200, LENGTHS, own) <= silence_ms(low, rate, 200, LENGTHS, own)


@given(st.floats(0, 0.95), RATES, OWN)
def test_the_wait_keeps_to_the_rate(probability: float, rate: float, own: list[float]) -> None:
    """The chance that the caller goes on after that silence, over the chance that the turn is over, is the rate."""
    wait = silence_ms(probability, rate, 200, LENGTHS, own)
    median = median_pause_ms(LENGTHS, own)
    before = survival(200, median, LENGTHS.spread)
    if math.isfinite(wait) and before > 1e-9:
        chance = (1 - probability) * survival(wait, median, LENGTHS.spread) / before
        assert chance <= rate * probability + 1e-6
        assert wait == 200 or chance == pytest.approx(rate * probability, abs=1e-3)


@given(OWN, st.floats(100, 5000))
def test_a_callers_own_pauses_pull_the_median_to_them(own: list[float], pause: float) -> None:
    """Between what was known and the new pause; without a weight the caller's own alone count."""
    before, after = median_pause_ms(LENGTHS, own), median_pause_ms(LENGTHS, [*own, pause])
    assert min(before, pause) * (1 - 1e-9) <= after <= max(before, pause) * (1 + 1e-9)
    free = LENGTHS.model_copy(update={"weight": 0.0})
    assert median_pause_ms(free, [pause]) == pytest.approx(pause)
    assert median_pause_ms(free, []) == 500


def test_a_turn_that_is_over_for_certain_waits_for_nothing() -> None:
    """And one that certainly is not over never ends by itself; one that hardly is asks for a long silence."""
    assert silence_ms(1.0, 0.1, 200, LENGTHS) == 200
    assert silence_ms(0.0, 0.05, 200, LENGTHS) == math.inf
    assert 1000 < silence_ms(0.05, 0.5, 200, LENGTHS) < 2000
