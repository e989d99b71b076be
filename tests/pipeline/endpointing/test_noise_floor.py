"""How loud the line is when nobody speaks, and what an end on a noisy line gains by it."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.endpointing import EventKind, Voicing
from turngap_agent.endpointing.noise_floor import REMEMBERED_WINDOWS, SMOOTHED_WINDOWS, NoiseFloor
from turngap_agent.endpointing.policies import make_endpointer
from turngap_agent.profile.sections import EndpointingSettings

LEVELS = st.lists(st.floats(-120, 0), min_size=1, max_size=400)
WINDOW = 256
SETTINGS = EndpointingSettings(policy="speculative", model=None, min_silence_ms=416, noise_ms=96, floor_db=3)


def follow(levels: list[float]) -> NoiseFloor:
    floor = NoiseFloor()
    for level in levels:
        floor.push(level)
    return floor


def find_end(windows: list[tuple[float, float]], settings: EndpointingSettings = SETTINGS) -> int | None:
    """Return the number of the window that confirms the end."""
    policy = make_endpointer(settings)
    for index, (probability, level) in enumerate(windows):
        for event in policy.push(Voicing((index + 1) * WINDOW, probability, level)):
            if event.kind is EventKind.CONFIRMED_END:
                return index + 1
    return None


@given(LEVELS)
def test_the_floor_is_the_quietest_stretch_that_is_remembered(levels: list[float]) -> None:
    """As found by looking at every stretch again."""
    means = [
        10 * math.log10(sum(10 ** (level / 10) for level in levels[end - SMOOTHED_WINDOWS : end]) / SMOOTHED_WINDOWS)
        for end in range(SMOOTHED_WINDOWS, len(levels) + 1)
        if end > len(levels) - REMEMBERED_WINDOWS
    ]
    assert follow(levels).level_dbfs == pytest.approx(min(means, default=-float("inf")))


@given(st.floats(-70, -20), st.integers(0, 1000))
def test_a_steady_hum_is_the_floor(hum_dbfs: float, seed: int) -> None:
    """However loud, with speech over it, within a decibel."""
    draw = random.Random(seed)
    noise = [hum_dbfs + draw.uniform(-1, 1) for _ in range(20)]
    speech = [hum_dbfs + draw.uniform(5, 20) for _ in range(100)]
    assert follow(noise + speech).level_dbfs == pytest.approx(hum_dbfs, abs=1)


def test_a_floor_that_rises_is_followed_after_five_seconds() -> None:
    """A quiet that is long over says nothing of the line now."""
    assert follow([-70.0] * 10 + [-50.0] * (REMEMBERED_WINDOWS + SMOOTHED_WINDOWS)).level_dbfs == -50


def test_an_end_on_a_noisy_line_does_not_wait_for_the_detector() -> None:
    """The detector reports speech for five more windows; the line is as faint as before the speech."""
    line, speech = [(0.0, -45.0)] * 8, [(0.9, -15.0)] * 20
    lag, after = [(0.6, -45.0)] * 5, [(0.0, -45.0)] * 40
    ends = [
        find_end([*line, *speech, *lag, *after], SETTINGS.model_copy(update={"floor_db": floor_db}))
        for floor_db in (None, 3.0)
    ]
    # without the floor: 28 windows, 5 of lag, 13 of silence and 3 of `noise_ms`; with it: 28, 13, and what -45 dBFS
    # hides of a voice at -15: its last 10 dB, 12 ms each, 4 windows
    assert ends == [49, 45]


def test_speech_without_a_pause_is_no_floor() -> None:
    """A soft ending within some dB of unbroken speech is no silence, though nothing quieter was heard."""
    loud, soft = [(0.9, -15.0)] * 40, [(0.6, -35.0)] * 20
    assert find_end([*loud, *soft]) is None


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(-90, -5)), min_size=20, max_size=300),
)
def test_the_floor_takes_no_end_away(windows: list[tuple[float, float]]) -> None:
    """Whatever is heard, the first end is at the latest where it is without a floor."""
    with_floor = find_end(windows)
    without = find_end(windows, SETTINGS.model_copy(update={"floor_db": None}))
    assert without is None or (with_floor is not None and with_floor <= without)
