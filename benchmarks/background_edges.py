"""How far t1 is from a voice's first sample over an agent's background: hum, or noise like an office's, all the time.

The product's own `find_background` and `find_onset` are measured, as the scoring of a call uses them: a second of
background, two in which the caller speaks, and 400 ms later, anywhere in a frame, a voice that begins at full level, 15
to 25 dB over the background. All has passed through μ-law.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from turngap.calibration.voice import make_voice
from turngap.caller.background import find_background, measure_levels
from turngap.caller.onset import AUDIBLE_DBFS, Segment, find_onset
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap_agent.telephony import mulaw

from benchmarks.promises import Promise, check_at_most, print_progress, print_table

LARGEST_MS = 10.0
LEVELS_DBFS = (-50.0, -40.0, -30.0)
OVER_DB = (15.0, 25.0)
BEFORE_SAMPLES, SPEECH_SAMPLES, GAP_SAMPLES, VOICE_SAMPLES = 8_000, 16_000, 3_200, 8_000
NOTICE_SAMPLES = 2_400
"""The agent may still speak for so long after the caller has begun (`scoring.heard_sound`)."""
Sound = npt.NDArray[np.float64]


def measure_background_edges(n: int, seed: int = 1) -> tuple[list[Promise], dict[str, Any]]:
    """Measure n voices over each background; return promises and details."""
    rows: list[Promise] = []
    details: dict[str, Any] = {}
    for name, make in (("hum", _make_hum), ("noise", _make_noise)):
        for level_dbfs in LEVELS_DBFS:
            label = f"{name} of {level_dbfs:g} dBFS"
            print_progress(f"edges over a background: {label}")
            rng = np.random.default_rng([seed, len(details)])
            found = [_measure_one(make, level_dbfs, rng) for _ in range(n)]
            errors = np.array([error for error in found if error is not None])
            missing = len(found) - len(errors)
            largest = float(np.abs(errors).max()) if len(errors) else float("inf")
            details[label] = {
                "mean": float(errors.mean()) if len(errors) else None,
                "sd": float(errors.std(ddof=1)) if len(errors) > 1 else None,
                "largest": largest,
                "not found": missing,
            }
            rows += [
                check_at_most(f"{label}: largest error of t1 <= {LARGEST_MS:g} ms", largest, LARGEST_MS),
                Promise(f"{label}: all voices are found", f"{missing} not found", missing, holds=not missing),
            ]
    return rows, details


def print_background_edges(details: Mapping[str, Any], *, as_json: bool) -> None:
    """Print mean, sd and largest error over each background."""
    rows = [
        [name, f"{one['mean']:+.2f} ± {one['sd']:.2f}", f"{one['largest']:.1f}", str(one["not found"])]
        for name, one in details.items()
        if one["sd"] is not None
    ]
    columns = ["background", "t1, mean ± sd", "largest", "not found"]
    print_table("Errors of t1 over a background, ms", columns, rows, as_json=as_json)


def _measure_one(
    make: Callable[[int, np.random.Generator], Sound], level_dbfs: float, rng: np.random.Generator
) -> float | None:
    """Return the error of t1, ms; None if no onset was found after the caller's speech."""
    begins = BEFORE_SAMPLES + SPEECH_SAMPLES + GAP_SAMPLES + int(rng.integers(160))
    bed = make(begins + VOICE_SAMPLES + BEFORE_SAMPLES, rng)
    sound = bed * (32_768 * 10 ** (level_dbfs / 20) / np.sqrt(np.mean(np.square(bed))))
    voice = make_voice(VOICE_SAMPLES, int(rng.integers(2**31)), level_dbfs + rng.uniform(*OVER_DB))
    sound[begins : begins + VOICE_SAMPLES] += voice
    pcm = mulaw.decode(mulaw.encode(np.clip(np.rint(sound), -32_000, 32_000).astype(np.int16)))
    segments = [Segment(0, pcm)]
    speech_ends_ns = (BEFORE_SAMPLES + SPEECH_SAMPLES) * NS_PER_SAMPLE
    quiet = [
        (0, BEFORE_SAMPLES * NS_PER_SAMPLE),
        ((BEFORE_SAMPLES + NOTICE_SAMPLES) * NS_PER_SAMPLE, speech_ends_ns),
    ]
    background = find_background(measure_levels(segments), quiet)
    audible_dbfs = AUDIBLE_DBFS if background is None else background.audible_dbfs
    onset_ns = find_onset(segments, speech_ends_ns, audible_dbfs)
    return None if onset_ns is None else (onset_ns - begins * NS_PER_SAMPLE) / NS_PER_MS


def _make_hum(samples: int, rng: np.random.Generator) -> Sound:
    at_s = np.arange(samples) / 8_000
    hum: Sound = np.zeros(samples)
    for harmonic in range(1, 5):
        hum += np.sin(2 * np.pi * 60 * harmonic * at_s + rng.uniform(0, 2 * np.pi)) / harmonic
    return hum


def _make_noise(samples: int, rng: np.random.Generator) -> Sound:
    noise: Sound = np.convolve(rng.standard_normal(samples + 7), np.ones(8) / 8, "valid")
    return noise
