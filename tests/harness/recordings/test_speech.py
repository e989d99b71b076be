"""Stretches of speech on one channel: where they start and end, over which floor, and how firm that is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.recordings.power import STEPS_PER_S, PowerMeter, levels_dbfs
from turngap.recordings.speech import Channel, find_speech_by_level

from tests.harness.recordings.dialogues import RATE, Floats, make_dialogue


def find(sound: Floats, rate: int = RATE) -> Channel:
    meter = PowerMeter(rate)
    meter.add(sound)
    return find_speech_by_level(meter.finish())


@pytest.mark.parametrize("floor_dbfs", [-90.0, -65.0, -50.0])
@pytest.mark.parametrize("level_dbfs", [-14.0, -26.0])
def test_edges_of_a_known_voice_are_found_to_milliseconds(floor_dbfs: float, level_dbfs: float) -> None:
    """Starts and ends are within 5 ms of the samples at which the voice starts and stops, in quiet and in noise."""
    spans = [(1003.0, 2011.0), (3507.0, 4999.0)]
    found = find(make_dialogue(spans, [], 6000, floor_dbfs=floor_dbfs, level_dbfs=level_dbfs)[:, 0])
    assert len(found.stretches) == 2
    for stretch, (start_ms, end_ms) in zip(found.stretches, spans, strict=True):
        assert stretch.start.at_ms == pytest.approx(start_ms, abs=5)
        assert stretch.end.at_ms == pytest.approx(end_ms, abs=5)
        assert stretch.start.earliest_ms <= stretch.start.at_ms <= stretch.start.latest_ms
        assert stretch.end.earliest_ms <= stretch.end.at_ms <= stretch.end.latest_ms
    assert found.floor_dbfs == pytest.approx(floor_dbfs, abs=4)


@settings(deadline=None, max_examples=30)
@given(start_ms=st.integers(300, 1500), length_ms=st.integers(250, 2500), pause_ms=st.integers(260, 1500))
def test_pauses_of_over_200_ms_separate_stretches(start_ms: int, length_ms: int, pause_ms: int) -> None:
    """Wherever they lie, and however long the speech around them is."""
    first_end = start_ms + length_ms
    spans = [(float(start_ms), float(first_end)), (float(first_end + pause_ms), float(first_end + pause_ms + 800))]
    found = find(make_dialogue(spans, [], first_end + pause_ms + 1500)[:, 0])
    assert len(found.stretches) == 2
    gap_ms = found.stretches[1].start.at_ms - found.stretches[0].end.at_ms
    assert gap_ms == pytest.approx(pause_ms, abs=10)


def test_shorter_silences_are_inside_a_stretch() -> None:
    """A closure of 150 ms is no pause."""
    found = find(make_dialogue([(500.0, 1200.0), (1350.0, 2000.0)], [], 2600)[:, 0])
    assert len(found.stretches) == 1


def test_the_floor_follows_the_line() -> None:
    """Noise that is 25 dB louder in the second minute hides no speech, and is none."""
    quiet = make_dialogue([(5000.0, 6500.0)], [], 60_000, floor_dbfs=-75)[:, 0]
    noisy = make_dialogue([(20_000.0, 21_500.0)], [], 60_000, floor_dbfs=-48)[:, 0]
    found = find(np.concatenate([quiet, noisy]))
    assert [round(stretch.start.at_ms, -2) for stretch in found.stretches] == [5000, 80_000]


def test_clicks_silence_and_offsets_are_no_speech() -> None:
    """Neither single loud samples, nor a constant offset, nor nothing at all."""
    clicks = np.zeros(4 * RATE, np.float32)
    clicks[:: RATE // 2] = 0.9
    for sound in (clicks, np.zeros(4 * RATE, np.float32), np.full(4 * RATE, 0.3, np.float32), np.zeros(0, np.float32)):
        assert find(sound).stretches == ()


@settings(deadline=None, max_examples=25)
@given(
    rate=st.sampled_from([8000, 11_025, 16_000, 22_050, 44_100, 48_000]),
    blocks=st.lists(st.integers(0, 5000), min_size=1, max_size=12),
)
def test_power_does_not_depend_on_blocks(rate: int, blocks: list[int]) -> None:
    """However the samples come, the steps are the same, and there is one each 1.25 ms."""
    sound = np.random.default_rng(3).standard_normal(sum(blocks)).astype(np.float32)
    whole, pieces = PowerMeter(rate), PowerMeter(rate)
    whole.add(sound)
    at = 0
    for size in blocks:
        pieces.add(sound[at : at + size])
        at += size
    np.testing.assert_allclose(pieces.finish(), whole.finish(), rtol=1e-5, atol=1e-9)
    assert len(whole.finish()) == pytest.approx(len(sound) * STEPS_PER_S / rate, abs=1)


def test_levels_are_re_full_scale() -> None:
    """A sine of full scale has -3.01 dBFS, as everywhere."""
    meter = PowerMeter(RATE)
    meter.add(np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32))
    assert float(np.median(levels_dbfs(meter.finish()))) == pytest.approx(-3.01, abs=0.05)
