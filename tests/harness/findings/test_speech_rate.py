"""Speech at the wrong speed is found by its sound; speech at its own is not, nor is what is no speech."""

from __future__ import annotations

import numpy as np
import pytest
from turngap.calibration.voice import make_voice
from turngap.findings.speech_rate import find_rate_faults
from turngap.model.finding import FindingKind
from turngap.model.records import Pcm16

from tests.harness import ambience
from tests.harness.findings.voices import talk

PITCHES_HZ = (95.0, 120.0, 160.0, 210.0, 250.0)


def kinds(*replies: Pcm16) -> list[FindingKind]:
    """The kinds that are found in replies that are played at 8 kHz."""
    return [finding.kind for finding in find_rate_faults(replies)]


@pytest.mark.parametrize("pitch_hz", PITCHES_HZ)
def test_speech_at_its_own_speed_is_no_fault(pitch_hz: float) -> None:
    """Low voices and high ones."""
    assert kinds(talk(8_000, pitch_hz)) == []


@pytest.mark.parametrize(
    ("rate", "pitch_hz"),
    [*((24_000, hz) for hz in (95.0, 160.0, 210.0)), *((16_000, hz) for hz in PITCHES_HZ)],
)
def test_audio_of_a_higher_rate_is_slow(rate: int, pitch_hz: float) -> None:
    """Low voices by a pitch that is nobody's, high ones by vowels that are lower still; the pitch is told."""
    (finding,) = find_rate_faults([talk(rate, pitch_hz)])
    assert finding.kind is FindingKind.SLOW
    assert finding.value == pytest.approx(pitch_hz * 8_000 / rate, rel=0.15)


@pytest.mark.parametrize("pitch_hz", [210.0, 180.0])
def test_audio_of_a_lower_rate_is_fast(pitch_hz: float) -> None:
    """4 kHz played at 8."""
    (finding,) = find_rate_faults([talk(4_000, pitch_hz, hiss_s=0.32)])
    assert finding.kind is FindingKind.FAST
    assert finding.value == pytest.approx(2 * pitch_hz, rel=0.15)


def test_cries_and_sound_without_speech_have_no_speed() -> None:
    """Cries jump by octaves; tones and music do not glide; noise has no pitch; a short reply says too little."""
    cries = np.concatenate([talk(4_000, pitch_hz, 1.08, hiss_s=0.32) for pitch_hz in (230.0, 100.0, 230.0, 230.0)])
    assert kinds(cries) == []
    assert kinds(ambience.music(4_000, -20.0)) == []
    assert kinds(ambience.noise(4_000, -20.0)) == []
    assert kinds(make_voice(32_000, 1, -15.0)) == []
    assert kinds(talk(24_000, 160.0)[:4_000]) == []
    assert kinds() == []
