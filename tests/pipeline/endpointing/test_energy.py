"""The level detector: windows over the threshold are speech, those under it are not; the level goes with them."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from turngap_agent.endpointing.energy import EnergyEngine, EnergySettings


def voicings(rms_dbfs: float, offset: int = 0) -> list[tuple[int, float]]:
    square = np.resize([1, -1], 512) * 32_768 * 10 ** (rms_dbfs / 20) + offset
    detector = EnergyEngine(EnergySettings(engine="energy", threshold_dbfs=-45)).detector()
    seen = asyncio.run(detector.push(square.astype(np.int16)))
    assert [one.level_dbfs for one in seen] == pytest.approx([rms_dbfs] * 2, abs=0.1)
    return [(one.end_sample, one.probability) for one in seen]


def test_sound_over_the_threshold_is_speech() -> None:
    """Windows 1 dB over the threshold have probability 1."""
    assert voicings(-44) == [(256, 1.0), (512, 1.0)]


def test_sound_under_the_threshold_is_silence() -> None:
    """Windows 1 dB under the threshold have probability 0."""
    assert voicings(-46) == [(256, 0.0), (512, 0.0)]


def test_a_dc_offset_is_not_sound() -> None:
    """A constant under the sound changes nothing."""
    assert voicings(-46, 9000) == [(256, 0.0), (512, 0.0)]
    assert voicings(-44, 9000) == [(256, 1.0), (512, 1.0)]
