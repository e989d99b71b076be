"""What the caller says in a calibration: utterances whose end is known, labelled as every other clip is.

Each is a voice that stops between two samples, with the line's comfort noise before and after it. The product's own
`make_clip` brings it to level, labels it and cuts it, so that the label's error is inside the calibration's.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from turngap_agent.telephony import SAMPLE_RATE

from turngap.calibration.voice import make_voice
from turngap.caller.comfort_noise import make_comfort_noise
from turngap.corpus.audio_sources import SourceAudio
from turngap.corpus.clips import make_clip
from turngap.corpus.concatenation import ACTIVE_DBFS
from turngap.model.records import Clip
from turngap.scenario import PlannedCall, Turn

QUIET_MS = 200
"""The reference agent never pauses, so the next turn may follow soon. With a turn every 730 ms the sentinel has a
measurement in nearly every window of 570 ms or more (500 before t0, and the gap)."""
UTTERANCE_MS = (200.0, 260.0)
POOL = 32
"""So many utterances are made beforehand: to make one takes a millisecond, which a call beside others doesn't have."""
_HEAD_SAMPLES, _TAIL_SAMPLES = 160, 2400
"""A head this short stays in the clip, so that the clip's samples are those of the source."""


@dataclass(frozen=True, slots=True)
class KnownClip(Clip):
    """A clip whose true end of speech is known beside its labelled one."""

    true_end_sample: int = 0
    """The sample after the voice's last one."""

    @property
    def label_error_samples(self) -> int:
        """How much later than the truth the label is."""
        return len(self.pcm) - self.true_end_sample


@lru_cache(maxsize=4)
def make_utterances(seed: int) -> tuple[KnownClip, ...]:
    """Return the pool of utterances of that seed."""
    return tuple(make_utterance(seed * POOL + index) for index in range(POOL))


def make_utterance(seed: int) -> KnownClip:
    """Return one utterance of 200-260 ms that ends anywhere between two samples."""
    samples = round(np.random.default_rng([seed, 1]).uniform(*UTTERANCE_MS) * SAMPLE_RATE / 1000)
    noise = make_comfort_noise(_HEAD_SAMPLES + samples + _TAIL_SAMPLES, seed)
    noise[_HEAD_SAMPLES : _HEAD_SAMPLES + samples] += make_voice(samples, seed, ACTIVE_DBFS)
    clip = make_clip(f"voice-{seed}", [SourceAudio(noise, None, "made up: a voice with a known end", synthetic=True)])
    assert isinstance(clip, Clip)  # it stops dead, so its end is firm
    own = {field.name: getattr(clip, field.name) for field in fields(clip)}
    return KnownClip(**own, true_end_sample=_HEAD_SAMPLES + samples)


def make_burst(duration_ms: float, seed: int) -> Clip:
    """Return an utterance of noise at -20 dBFS, without a label: its end is its last sample."""
    rng = np.random.default_rng(seed)
    pcm = np.clip(rng.normal(0, 3276.7, round(duration_ms * SAMPLE_RATE / 1000)), -32767, 32767).astype(np.int16)
    return Clip(f"burst-{seed}", pcm, 0, None, 0.0, 0.0, "made up: noise", synthetic=True)


def plan_call(
    turns: int, index: int, delay_ms: float, seed: int, *, on_grid: bool = False
) -> tuple[PlannedCall, dict[str, Clip]]:
    """Return a call of that many utterances, and their clips; they end anywhere in a frame or, `on_grid`, with one."""
    rng = np.random.default_rng([seed, index])
    keys = [f"voice-{index}-{turn}" for turn in range(turns)]
    planned = tuple(
        Turn(id=key, say="a made-up voice", pause_ms=200, answer_within_ms=round(delay_ms) + 1500) for key in keys
    )
    pool = make_utterances(seed)
    clips: dict[str, Clip] = {key: pool[int(rng.integers(POOL))] for key in keys}
    return PlannedCall(index, planned, probe=False, on_grid=on_grid, quiet_ms=QUIET_MS), clips
