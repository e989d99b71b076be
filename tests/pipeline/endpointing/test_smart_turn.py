"""The frames that Smart Turn reads are Whisper's, computed without a speech recogniser's package."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from turngap_agent.endpointing.smart_turn.features import BANDS, RATE, STEP, log_mel


@pytest.mark.parametrize("level", [1.0, 1e-3, 0.0])
def test_the_frames_are_those_of_whispers_extractor(level: float) -> None:
    """faster-whisper's, for speech-like noise of any level, and for silence."""
    extractor = pytest.importorskip("faster_whisper.feature_extractor").FeatureExtractor(feature_size=80)
    times_s = np.arange(8 * RATE) / RATE
    audio = level * np.random.default_rng(0).normal(size=len(times_s)) * np.sin(2 * np.pi * times_s) ** 2
    frames = log_mel(audio.astype(np.float32))
    assert frames.shape == (BANDS, len(audio) // STEP)
    assert np.allclose(frames, extractor(audio.astype(np.float32), padding=0)[:, : frames.shape[1]], atol=1e-5)


def test_a_tone_is_in_its_band() -> None:
    """Of 80 bands over 45.2 mel, the one around 15 mel, 1 kHz on Slaney's scale, in every frame."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    assert set(log_mel(tone)[:, 2:-2].argmax(axis=0)) == {round(15 / (45.2456 / 81)) - 1}


def test_the_turn_model_needs_no_speech_recogniser() -> None:
    """A weightless profile runs where faster-whisper and CTranslate2 are not installed."""
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['faster_whisper', 'ctranslate2', 'av']));"
        "import turngap_agent.endpointing.smart_turn.engine"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
