"""The noise floor of a recording as a loop: what goes on behind the caller before and after the speech."""

from __future__ import annotations

import numpy as np
from turngap_agent.telephony import SAMPLE_RATE

from turngap.caller.onset import LEVEL_FRAME_SAMPLES, levels_dbfs
from turngap.model.records import Pcm16

LOOP_SAMPLES = 10 * SAMPLE_RATE
QUIET_PERCENTILE = 10.0
QUIET_SPAN_DB = 6.0
"""Frames up to this much over the 10th percentile of the frame levels are the floor: some words are in few of them."""
INAUDIBLE_DBFS = -68.0
"""A floor below this is under the line's own comfort noise."""


def make_floor_loop(pcm: Pcm16, samples: int, seed: str) -> Pcm16 | None:
    """Return noise with the level and spectrum of the quiet frames of `pcm`, shape (n,), n at least `samples` + 10 s.

    It repeats without a seam. None where the floor is inaudible, or the recording shorter than 100 ms.
    """
    pcm = pcm[: len(pcm) // LEVEL_FRAME_SAMPLES * LEVEL_FRAME_SAMPLES]  # an incomplete frame would look quieter
    levels = levels_dbfs(pcm)
    if len(levels) < 10:
        return None
    quiet = np.flatnonzero(levels <= np.percentile(levels, QUIET_PERCENTILE) + QUIET_SPAN_DB)
    powers = 10 ** (levels[quiet] / 10)
    if 10 * np.log10(max(float(np.mean(powers)), 1e-12)) < INAUDIBLE_DBFS:
        return None
    frames = pcm.reshape(-1, LEVEL_FRAME_SAMPLES)[quiet].astype(np.float64)
    window = np.hanning(LEVEL_FRAME_SAMPLES)
    spectrum = np.mean(np.abs(np.fft.rfft(frames * window, axis=1)) ** 2, axis=0)
    length = samples + LOOP_SAMPLES
    hz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    shape = np.sqrt(np.interp(hz, np.fft.rfftfreq(LEVEL_FRAME_SAMPLES, 1 / SAMPLE_RATE), spectrum))
    rng = np.random.default_rng(list(seed.encode()))
    noise = np.fft.irfft(shape * (rng.standard_normal(len(hz)) + 1j * rng.standard_normal(len(hz))), length)
    noise *= np.sqrt(np.mean(np.square(frames)) / np.mean(np.square(noise)))
    floor: Pcm16 = np.clip(np.rint(noise), -32_768, 32_767).astype(np.int16)
    return floor
