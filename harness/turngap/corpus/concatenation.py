"""Utterances brought to one level, and said one after the other with gaps of comfort noise between them.

Prompts that are joined follow each other after 120-160 ms, which is shorter than endpointing waits, or after the gaps
that a scenario asks for. A gap lies between the labels of the two parts, so it is as long as was asked, to the sample.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from turngap_agent.errors import ScenarioError

from turngap.caller.comfort_noise import comfort_noise
from turngap.caller.onset import levels_dbfs
from turngap.corpus.labels import BELOW_P95_DB, label
from turngap.model.records import Pcm16
from turngap.scenario import PAUSE_MS

ACTIVE_DBFS = -20.0
PEAK_DBFS = -1.0
MAX_GAIN_DB = 30.0
"""Noise is not made into a voice."""
JOIN_MS = (120, 160)
HEAD_SAMPLES = 400
"""50 ms kept before the speech: a soft onset lies under the threshold."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Parts in a row; the last keeps its tail, for the label of the whole."""

    pcm: Pcm16
    """Shape (n,), 8 kHz."""
    pauses: tuple[tuple[int, int], ...]
    """Gaps of 200 ms and more: (start_sample, end_sample)."""


def join(seed: str, parts: Sequence[Pcm16], gaps_ms: Sequence[int] | None = None) -> Joined:
    """Parts, levelled, with comfort noise between them: `gaps_ms` each, or 120-160 ms by the seed.

    Raises:
        ScenarioError: a part holds no speech.
    """
    rng = random.Random(seed)
    rows: list[Pcm16] = []
    pauses: list[tuple[int, int]] = []
    at = 0
    for index, part in enumerate(parts):
        levelled = normalise(part)
        found = label(levelled)
        if found is None:
            raise ScenarioError("no speech in it")
        first, last = index == 0, index == len(parts) - 1
        start = max(0, found.start_sample - HEAD_SAMPLES) if first else found.start_sample
        rows.append(levelled[start : None if last else found.end_sample])
        at += len(rows[-1])
        if not last:
            gap_ms = rng.randint(*JOIN_MS) if gaps_ms is None else gaps_ms[index]
            rows.append(comfort_noise(gap_ms * 8, f"{seed}:{index}"))
            if gap_ms >= PAUSE_MS:
                pauses.append((at, at + gap_ms * 8))
            at += gap_ms * 8
    return Joined(np.concatenate(rows), tuple(pauses))


def normalise(pcm: Pcm16) -> Pcm16:
    """Speech at -20 dBFS over its frames within 35 dB of p95, peaks at most -1 dBFS, 30 dB louder at most; (n,)."""
    peak = int(np.abs(pcm.astype(np.int32)).max(initial=0))
    if peak == 0:
        return pcm
    levels = levels_dbfs(pcm)
    active = levels[levels >= np.percentile(levels, 95) - BELOW_P95_DB]
    level = 10 * np.log10(np.mean(10 ** (active / 10)))
    gain_db = min(ACTIVE_DBFS - level, PEAK_DBFS - 20 * np.log10(peak / 32_768), MAX_GAIN_DB)
    scaled: Pcm16 = np.rint(pcm * 10 ** (gain_db / 20)).astype(np.int16)
    return scaled
