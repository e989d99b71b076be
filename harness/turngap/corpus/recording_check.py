"""A check of one recording before it is used: where its speech is, how firm its end is, what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from turngap_agent.errors import ScenarioError

from turngap.caller.onset import levels_dbfs
from turngap.corpus.audio_sources import read_audio
from turngap.corpus.concatenation import find_pauses, join_speech, normalise
from turngap.corpus.labels import MAX_MOVE_MS, Label, label_speech, speech_threshold_dbfs
from turngap.model.records import Pcm16

TAIL_MS = 100.0
"""With less audio after the speech it is unknown whether the speech ended or the recording."""
HEAD_MS = 20.0
CLIPPED_SAMPLES = 3
"""This many samples in a row at full scale are not a single peak."""


@dataclass(frozen=True, slots=True)
class RecordingCheck:
    """A recording with its label; times in ms from the start of the file."""

    path: Path
    pcm: Pcm16
    """The whole file at the level at which it is spoken, 8 kHz, shape (n,)."""
    label: Label
    """The label that a run uses, in samples of the whole file."""
    threshold_dbfs: float
    pauses: tuple[tuple[float, float], ...]
    """Pauses of 200 ms and more inside the speech."""
    remarks_on_end: tuple[str, ...]
    """What is wrong with the end of its speech and what to do, one line each."""
    other_remarks: tuple[str, ...]
    """The same of the rest."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """All of them."""
        return self.remarks_on_end + self.other_remarks

    @property
    def level_dbfs(self) -> float:
        """The RMS level at which it is spoken, over its frames that are speech."""
        levels = levels_dbfs(self.pcm[self.label.start_sample : self.label.end_sample])
        speech = levels[levels > self.threshold_dbfs]
        return float(10 * np.log10(np.mean(10 ** (speech / 10))))

    @property
    def start_ms(self) -> float:
        """The start of the speech."""
        return self.label.start_sample / 8

    @property
    def end_ms(self) -> float:
        """The end of the speech, from which the turn gap is measured."""
        return self.label.end_sample / 8

    @property
    def duration_ms(self) -> float:
        """The length of the file."""
        return len(self.pcm) / 8

    @property
    def tail_ms(self) -> float:
        """What follows the speech in the file."""
        return self.duration_ms - self.end_ms

    @property
    def usable(self) -> bool:
        """Whether there are no remarks."""
        return not self.remarks


def check_recording(path: Path) -> RecordingCheck:
    """Read and label a recording exactly as a run does: bring it to level, cut the silence before the speech, label it.

    Raises:
        ScenarioError: it cannot be read (`scenario.audio`), or holds no speech (`scenario.no-speech`).
    """
    raw = read_audio(path)
    try:
        joined = join_speech("", [raw])
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}", code=error.code) from None
    label, threshold = label_speech(joined.pcm), speech_threshold_dbfs(joined.pcm)
    assert label is not None, "cutting silence only raises the levels' percentile, which the loudest frames exceed"
    cut = joined.cut_samples
    label = replace(label, start_sample=cut + label.start_sample, end_sample=cut + label.end_sample)
    pcm = normalise(raw)
    pauses = tuple((first / 8, beyond / 8) for first, beyond in find_pauses(pcm, label, threshold))
    return RecordingCheck(path, pcm, label, threshold, pauses, _judge_end(raw, label), _make_remarks(raw, label))


def _judge_end(raw: Pcm16, label: Label) -> tuple[str, ...]:
    remarks = []
    if not label.is_firm:
        remarks.append(
            f"the end moves by {label.low_ms:+.0f} / {label.high_ms:+.0f} ms when the thresholds move by -5 / +5 dB, "
            f"over {MAX_MOVE_MS:.0f} ms, so a run leaves it out; record it closer, or in a quieter room"
        )
    if len(raw) / 8 - label.end_sample / 8 < TAIL_MS:
        remarks.append(
            f"there is sound in the last {TAIL_MS:.0f} ms of the file, so its end may be the recording's, not the "
            "speaker's; leave silence after the speech"
        )
    return tuple(remarks)


def _make_remarks(raw: Pcm16, label: Label) -> tuple[str, ...]:
    remarks = []
    if label.start_sample / 8 < HEAD_MS:
        remarks.append("there is sound from the first sample on, so the start may be cut; leave silence before it")
    full = np.abs(raw.astype(np.int32)) >= np.iinfo(np.int16).max - 1
    if len(full) >= CLIPPED_SAMPLES and np.convolve(full, np.ones(CLIPPED_SAMPLES), "valid").max() >= CLIPPED_SAMPLES:
        remarks.append("it is clipped; record it with less gain")
    return tuple(remarks)
