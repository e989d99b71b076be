"""The level detector: windows over the threshold are speech, those under it are not."""

from __future__ import annotations

import asyncio

import numpy as np

from pipeline.endpointing import Voicing
from pipeline.endpointing.energy import EnergyEngine
from pipeline.profile.endpointing import EnergySettings


def voicings(rms_dbfs: float, offset: int = 0) -> list[Voicing]:
    square = np.resize([1, -1], 512) * 32_768 * 10 ** (rms_dbfs / 20) + offset
    detector = EnergyEngine(EnergySettings(engine="energy", threshold_dbfs=-45)).detector()
    return asyncio.run(detector.push(square.astype(np.int16)))


def test_sound_over_the_threshold_is_speech() -> None:
    """Windows 1 dB over the threshold have probability 1."""
    assert voicings(-44) == [Voicing(256, 1.0), Voicing(512, 1.0)]


def test_sound_under_the_threshold_is_silence() -> None:
    """Windows 1 dB under the threshold have probability 0."""
    assert voicings(-46) == [Voicing(256, 0.0), Voicing(512, 0.0)]


def test_a_dc_offset_is_no_sound() -> None:
    """A constant under the sound changes nothing."""
    assert [voicing.probability for voicing in voicings(-46, 9000)] == [0.0, 0.0]
    assert [voicing.probability for voicing in voicings(-44, 9000)] == [1.0, 1.0]
