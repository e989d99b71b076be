"""A recording, looked at before it is measured with: where its speech is, how firm that is, what speaks against it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from turngap_agent.errors import ScenarioError

from turngap.caller.onset import FRAME_SAMPLES, levels_dbfs
from turngap.corpus import audio_sources
from turngap.corpus.concatenation import normalise
from turngap.corpus.labels import MAX_MOVE_MS, Label, label, speech_threshold_dbfs
from turngap.model.records import Pcm16
from turngap.scenario import PAUSE_MS

TAIL_MS = 100.0
"""With less after the speech nobody can tell whether it ended, or the recording."""
HEAD_MS = 20.0
CLIPPED = 3
"""So many samples in a row at full scale are no peak."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """A recording with its label; ms from the beginning of the file."""

    path: Path
    pcm: Pcm16
    """As it is spoken: levelled, 8 kHz, shape (n,); not yet cut."""
    label: Label
    threshold_dbfs: float
    pauses: tuple[tuple[float, float], ...]
    """Pauses of 200 ms and more inside the speech."""
    remarks: tuple[str, ...]
    """What speaks against it, and what to do; one line each."""

    @property
    def start_ms(self) -> float:
        """Where the speech begins."""
        return self.label.start_sample / 8

    @property
    def end_ms(self) -> float:
        """Where the speech ends: what the turn gap is measured from."""
        return self.label.end_sample / 8

    @property
    def duration_ms(self) -> float:
        """The whole file."""
        return len(self.pcm) / 8

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.remarks


def inspect(path: Path) -> Inspection:
    """Read and label a recording as a scenario does.

    Raises:
        ScenarioError: it cannot be read, or holds no speech.
    """
    raw = audio_sources.read_audio(path)
    pcm = normalise(raw)
    found = label(pcm)
    if found is None:
        raise ScenarioError(
            f"{path}: no speech in it: nothing stands out by 35 dB, or all is under -50 dBFS; record again"
        )
    threshold = speech_threshold_dbfs(pcm)
    return Inspection(path, pcm, found, threshold, _pauses(pcm, found, threshold), _remarks(raw, pcm, found))


def _pauses(pcm: Pcm16, found: Label, threshold: float) -> tuple[tuple[float, float], ...]:
    levels = levels_dbfs(pcm[found.start_sample : found.end_sample])
    over = np.flatnonzero(levels > threshold)
    frame_ms = FRAME_SAMPLES / 8
    return tuple(
        (found.start_sample / 8 + (int(one) + 1) * frame_ms, found.start_sample / 8 + int(next_) * frame_ms)
        for one, next_ in itertools.pairwise(over)
        if (next_ - one - 1) * frame_ms >= PAUSE_MS
    )


def _remarks(raw: Pcm16, pcm: Pcm16, found: Label) -> tuple[str, ...]:
    remarks = []
    if not found.stable:
        remarks.append(
            f"the end moves by {found.low_ms:+.0f} / {found.high_ms:+.0f} ms when the thresholds move by -5 / +5 dB, "
            f"over {MAX_MOVE_MS:.0f} ms: a scenario leaves it out; record it closer, or in a quieter room"
        )
    if len(pcm) / 8 - found.end_sample / 8 < TAIL_MS:
        remarks.append(
            f"sound goes on to within {TAIL_MS:.0f} ms of the file's end: its end may be the recording's, not the "
            "speaker's; leave silence after the speech"
        )
    if found.start_sample / 8 < HEAD_MS:
        remarks.append("sound from the first sample on: the beginning may be cut; leave silence before the speech")
    full = np.abs(raw.astype(np.int32)) >= np.iinfo(np.int16).max - 1
    if len(full) >= CLIPPED and np.convolve(full, np.ones(CLIPPED), "valid").max() >= CLIPPED:
        remarks.append("it is clipped: record it with less gain")
    return tuple(remarks)
