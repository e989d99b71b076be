"""Made two-channel dialogues: on each side a synthetic voice whose ends are known to the sample, noise and leakage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from scipy import signal
from turngap.calibration.voice import make_voice

Floats = npt.NDArray[np.float32]
RATE = 8000
Spans = Sequence[tuple[float, float]]
"""From and to, in ms."""


def make_dialogue(
    caller: Spans,
    agent: Spans,
    length_ms: float,
    *,
    floor_dbfs: float = -65.0,
    level_dbfs: float = -20.0,
    leak: tuple[float, float] | None = None,
    seed: int = 1,
) -> Floats:
    """Return a call at 8 kHz, caller left, shape (n, 2), full scale ±1.

    `leak`: attenuation in dB and delay in ms of each side's sound on the other's channel.
    """
    rng = np.random.default_rng(seed)
    samples = round(length_ms * RATE / 1000)
    sides = np.zeros((samples, 2))
    for channel, spans in enumerate((caller, agent)):
        for number, (start_ms, end_ms) in enumerate(spans):
            first, last = round(start_ms * RATE / 1000), round(end_ms * RATE / 1000)
            voice = make_voice(last - first, 100 * seed + 10 * number + channel, level_dbfs)
            sides[first:last, channel] = voice / 32_768
    mixed = sides.copy()
    if leak is not None:
        attenuation_db, delay_ms = leak
        delay = round(delay_ms * RATE / 1000)
        for channel in (0, 1):
            mixed[delay:, channel] += sides[: samples - delay, 1 - channel] * 10 ** (-attenuation_db / 20)
    mixed += rng.standard_normal((samples, 2)) * 10 ** (floor_dbfs / 20)
    return np.clip(mixed, -1, 1).astype(np.float32)


def write_dialogue(path: Path, sound: Floats, rate: int = RATE, subtype: str | None = None) -> Path:
    """Write a dialogue, resampled to `rate`; the file's suffix says the format."""
    if rate != RATE:
        sound = signal.resample_poly(sound, rate, RATE, axis=0).astype(np.float32)
    soundfile.write(path, sound, rate, subtype=subtype)
    return path


CALLER: Spans = ((2500, 4000), (7000, 8500))
AGENT: Spans = ((500, 2000), (4600, 6500), (9300, 11000))
"""The agent greets; both of the caller's turns are answered, after 600 and 800 ms."""
LENGTH_MS = 12_000


def make_call(**options: float) -> Floats:
    """Return the dialogue of `CALLER` and `AGENT`."""
    return make_dialogue(CALLER, AGENT, LENGTH_MS, **options)  # type: ignore[arg-type]
