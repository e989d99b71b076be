"""Noise laid behind a clip at a signal-to-noise ratio that holds over its speech; the end of speech stays where it was.

The ratio is the power of the clean speech to that of the noise, both over the utterance's active 10 ms frames (those
within 35 dB of the 95th percentile of its frame levels), so that neither silence before it nor its pauses count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from turngap.caller.onset import FRAME_SAMPLES, levels_dbfs
from turngap.corpus.background_noise import Loop
from turngap.corpus.concatenation import ACTIVE_DBFS, PEAK_DBFS
from turngap.corpus.labels import BELOW_P95_DB
from turngap.model.records import Clip, Pcm16

LOOP_SAMPLES = 80_000
"""10 s, unless the clip is longer."""


def mix(clip: Clip, snr_db: float, loop: Callable[[int], Loop], *, speech: bool = True) -> Clip:
    """The clip with noise behind it, and the noise as its `bed`; `loop(samples)` makes the noise.

    Without speech the ratio is to speech at -20 dBFS. Where the sum would pass -1 dBFS both are turned down alike.
    """
    noise = loop(max(LOOP_SAMPLES, len(clip.pcm)))
    voice = clip.pcm.astype(np.float64)
    start = clip.speech_start_sample
    if speech:
        gain_db = snr(voice[start:], noise[start : len(voice)]) - snr_db
    else:
        voice = np.zeros(len(voice))
        gain_db = ACTIVE_DBFS + 20 * np.log10(32_768) - snr_db
    noise = noise * 10 ** (gain_db / 20)
    mixed = voice + noise[: len(voice)]
    peak = max(float(np.abs(mixed).max(initial=0)), float(np.abs(noise).max(initial=0)))
    room = min(1.0, 32_768 * 10 ** (PEAK_DBFS / 20) / peak) if peak else 1.0
    return replace(clip, pcm=_pcm16(mixed * room), bed=_pcm16(noise * room))


def snr(speech: npt.NDArray[np.float64], noise: npt.NDArray[np.float64]) -> float:
    """Speech over noise in dB, over the speech's active frames; both of shape (n,)."""
    whole = len(speech) // FRAME_SAMPLES * FRAME_SAMPLES
    levels = levels_dbfs(_pcm16(speech[:whole]))
    active = levels >= np.percentile(levels, 95) - BELOW_P95_DB
    powers = [np.mean(np.square(one[:whole]).reshape(-1, FRAME_SAMPLES)[active]) for one in (speech, noise)]
    return float(10 * np.log10(powers[0] / powers[1]))


def _pcm16(samples: npt.NDArray[np.float64]) -> Pcm16:
    return np.clip(np.rint(samples), -32_768, 32_767).astype(np.int16)
