"""Speech brought to one level, cut where it starts, and concatenated with gaps of comfort noise.

Joined prompts follow each other after 120-160 ms, which is shorter than endpointing waits, or after gaps set in the
scenario. A gap is between the labels of two parts, so it is as long as the scenario says, to the sample.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from turngap_agent.errors import ScenarioError

from turngap.caller.comfort_noise import make_comfort_noise
from turngap.caller.onset import LEVEL_FRAME_SAMPLES, format_level, levels_dbfs
from turngap.corpus.labels import BELOW_P95_DB, FLOOR_DBFS, SHIFT_DB, Label, label_speech, speech_threshold_dbfs
from turngap.model.records import Pcm16
from turngap.scenario import PAUSE_MS

ACTIVE_DBFS = -20.0
PEAK_DBFS = -1.0
MAX_GAIN_DB = 30.0
"""More gain would turn noise into speech."""
GAP_MS = (120, 160)
HEAD_SAMPLES = 400
"""50 ms are kept before the speech: a soft onset is under the threshold."""


@dataclass(frozen=True, slots=True)
class JoinedSpeech:
    """Parts in a row, from 50-60 ms before the speech; the last part keeps its tail, for the label of the whole."""

    pcm: Pcm16
    """Shape (n,), 8 kHz."""
    pauses: tuple[tuple[int, int], ...]
    """Pauses of 200 ms and more, inside a part or between two: (start_sample, end_sample)."""
    cut_samples: int
    """What was cut from the start of the first part."""


def join_speech(seed: str, parts: Sequence[Pcm16], gaps_ms: Sequence[int] | None = None) -> JoinedSpeech:
    """Return the parts at one level with comfort noise between them: `gaps_ms`, or 120-160 ms each, by the seed.

    Raises:
        ScenarioError: a part holds no speech (`scenario.no-speech`).
    """
    rng = random.Random(seed)
    pieces: list[Pcm16] = []
    pauses: list[tuple[int, int]] = []
    at = cut_samples = 0
    for index, part in enumerate(parts):
        levelled = normalise(part)
        label = label_speech(levelled)
        if label is None:
            raise ScenarioError(
                f"there is no speech in it: even with {MAX_GAIN_DB:.0f} dB of gain no sound is over "
                f"{format_level(FLOOR_DBFS + SHIFT_DB)}; record it louder",
                code="scenario.no-speech",
            )
        is_first, is_last = index == 0, index == len(parts) - 1
        start = _head_start(label.start_sample) if is_first else label.start_sample
        cut_samples = start if is_first else cut_samples
        pieces.append(levelled[start : None if is_last else label.end_sample])
        own = find_pauses(levelled, label, speech_threshold_dbfs(levelled[start:]))
        pauses += [(at + first - start, at + beyond - start) for first, beyond in own]
        at += len(pieces[-1])
        if not is_last:
            gap_ms = rng.randint(*GAP_MS) if gaps_ms is None else gaps_ms[index]
            pieces.append(make_comfort_noise(gap_ms * 8, f"{seed}:{index}"))
            if gap_ms >= PAUSE_MS:
                pauses.append((at, at + gap_ms * 8))
            at += gap_ms * 8
    return JoinedSpeech(np.concatenate(pieces), tuple(pauses), cut_samples)


def find_pauses(pcm: Pcm16, label: Label, threshold_dbfs: float) -> tuple[tuple[int, int], ...]:
    """Return the pauses of 200 ms and more inside one recording's speech: (start_sample, end_sample).

    They are stretches of 10 ms frames, counted from the start of the speech, that are not over the label's threshold.
    """
    over = np.flatnonzero(levels_dbfs(pcm[label.start_sample : label.end_sample]) > threshold_dbfs)
    return tuple(
        (
            label.start_sample + (int(before) + 1) * LEVEL_FRAME_SAMPLES,
            label.start_sample + int(after) * LEVEL_FRAME_SAMPLES,
        )
        for before, after in itertools.pairwise(over)
        if (after - before - 1) * LEVEL_FRAME_SAMPLES >= PAUSE_MS * 8
    )


def normalise(pcm: Pcm16) -> Pcm16:
    """Return speech at -20 dBFS over its frames within 35 dB of p95, peaks at most -1 dBFS, gain at most 30 dB."""
    peak = int(np.abs(pcm.astype(np.int32)).max(initial=0))
    if peak == 0:
        return pcm
    levels = levels_dbfs(pcm)
    active = levels[levels >= np.percentile(levels, 95) - BELOW_P95_DB]
    level = 10 * np.log10(np.mean(10 ** (active / 10)))
    gain_db = min(ACTIVE_DBFS - level, PEAK_DBFS - 20 * np.log10(peak / 32_768), MAX_GAIN_DB)
    scaled: Pcm16 = np.rint(pcm * 10 ** (gain_db / 20)).astype(np.int16)
    return scaled


def _head_start(speech_sample: int) -> int:
    """Return where the audio before the speech is cut: between two level frames, so that those of the speech stay."""
    return max(0, speech_sample - HEAD_SAMPLES) // LEVEL_FRAME_SAMPLES * LEVEL_FRAME_SAMPLES
