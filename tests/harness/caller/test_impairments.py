"""A bad line: each degradation does what it says to the samples, and the default line does nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.impairments import Degradations
from turngap.caller.playout import Playout
from turngap.model.records import Pcm16
from turngap.scenario import Line

FRAMES = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(-8000, 8000, 160).astype(np.int16)
)


def carried(pcm: Pcm16, seed: str = "1", **keys: Any) -> Pcm16:
    return Degradations(Line.model_validate(keys), Playout(), seed).apply(pcm, 0, 0)


@given(FRAMES)
def test_a_clean_line_hands_frames_on(pcm: Pcm16) -> None:
    """Untouched, also where frames are lost: the others are whole."""
    assert carried(pcm) is pcm
    assert carried(pcm, loss_percent=10) is pcm


@given(FRAMES, st.floats(-40, 12))
def test_level_is_a_gain(pcm: Pcm16, level_db: float) -> None:
    """Within rounding, as long as nothing is clipped."""
    assert np.abs(carried(pcm, level_db=level_db) - pcm * 10 ** (level_db / 20)).max() <= 0.51


@given(FRAMES, st.floats(-40, 0), st.floats(-0.5, 0.5), st.floats(-40, 20))
def test_nothing_passes_the_clipping_level(pcm: Pcm16, clip: float, dc: float, level: float) -> None:
    """With an offset and a gain before it, peaks are cut where the line cuts them; int16 never wraps."""
    out = carried(pcm, clip_dbfs=clip, dc_offset=dc, level_db=level).astype(int)
    assert np.abs(out).max() <= 32_768 * 10 ** (clip / 20) + 1
    free = pcm * 10 ** (level / 20) + dc * 32_768
    limit = min(32_767, 32_768 * 10 ** (clip / 20))
    inside = np.abs(free) < limit - 1
    assert np.abs(out[inside] - free[inside]).max(initial=0) <= 0.51


@given(FRAMES, st.floats(-0.4, 0.4))
def test_an_offset_moves_the_mean(pcm: Pcm16, dc: float) -> None:
    """By its part of full scale."""
    assert abs((carried(pcm, dc_offset=dc) - pcm.astype(float)).mean() - dc * 32_768) <= 0.51


def test_line_noise_has_its_level_and_is_seeded() -> None:
    """RMS over two seconds within half a dB; the same seed gives the same line."""
    lines = [Degradations(Line(noise_dbfs=-45), Playout(), seed) for seed in ("a", "a", "b")]
    one, same, other = (
        np.concatenate([line.apply(np.zeros(160, np.int16), k, 0) for k in range(100)]) for line in lines
    )
    assert abs(20 * np.log10(np.sqrt(np.mean(one.astype(float) ** 2)) / 32_768) + 45) < 0.5
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_as_many_frames_are_lost_as_was_asked() -> None:
    """5 % of 20,000 within a tenth of that, the same for the same seed; none on a whole line."""
    lossy, same = (Degradations(Line(loss_percent=5), Playout(), "a") for _ in range(2))
    lost = [lossy.loses() for _ in range(20_000)]
    assert 900 < sum(lost) < 1100
    assert lost == [same.loses() for _ in range(20_000)]
    whole = Degradations(Line(), Playout(), "a")
    assert not any(whole.loses() for _ in range(100))
