"""Clips of recordings whose end is labelled by hand, or relative to their noise floor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from turngap_agent.errors import ScenarioError
from turngap_agent.telephony import SAMPLE_RATE

from turngap.caller.onset import levels_dbfs
from turngap.corpus.audio_sources import SourceAudio, read_mono
from turngap.corpus.concatenation import HEAD_SAMPLES, normalise
from turngap.corpus.floor_label import MAX_MOVE_MS, TAIL_MS, FloorLabel, label_by_floor
from turngap.corpus.hand_labels import HandLabel
from turngap.corpus.labels import SHIFT_DB
from turngap.corpus.recording_check import RecordingCheck, check_recording
from turngap.corpus.recording_floor import make_floor_loop
from turngap.corpus.speech_stretches import FLOOR_FRAMES, FRAME_MS
from turngap.model.records import Clip, LabelSource
from turngap.scenario import Turn

ROUNDING_MS = 10.0
"""Label tools round times: an end later than the file's by this is the file's."""
NEVER_QUIET_FROM_MS, NEVER_QUIET_SHARE = 1000.0, 0.98
"""Clean speech of a second has closures in it that are 35 dB down; a word alone may have none."""
QUIETER_DB = 15.0
"""What is nearer to the loudest frames is speech that goes on to the end of the file."""
ADVICE = "label it by hand: `turngap label FILE --plot` shows where, and prints what to write"
GOES_ON = (
    f"there is sound in the last {TAIL_MS:.0f} ms of the file, so its end may be the recording's, not the speaker's; "
    f"leave silence after the speech, or {ADVICE}"
)


def make_labelled_clip(clip_id: str, audio: SourceAudio, label: HandLabel | FloorLabel, transcript: str | None) -> Clip:
    """Return the clip of a labelled recording: at level, cut at the end, with its noise floor as the bed.

    The label's uncertainty is the clip's. Without the bed the noise would stop with the speech, and any detector would
    find the end.

    Raises:
        ScenarioError: a label by hand is not inside the recording (`scenario.labels`).
    """
    if isinstance(label, HandLabel):
        check_inside(label, len(audio.pcm) * 1000 / SAMPLE_RATE)
    pcm = normalise(audio.pcm)
    start, end = (min(len(pcm), to_sample(ms)) for ms in (label.start_ms, label.end_ms))
    head = max(0, start - HEAD_SAMPLES)
    return Clip(
        clip_id=clip_id,
        pcm=pcm[head:end],
        speech_start_sample=start - head,
        transcript=transcript or audio.transcript,
        label_low_ms=label.low_ms,
        label_high_ms=label.high_ms,
        source=audio.source,
        synthetic=audio.synthetic,
        pauses=tuple((to_sample(first) - head, to_sample(beyond) - head) for first, beyond in label.pauses_ms),
        bed=make_floor_loop(pcm, end - head, clip_id),
        label_source=LabelSource.HAND if isinstance(label, HandLabel) else LabelSource.FLOOR,
    )


def check_inside(label: HandLabel, duration_ms: float) -> None:
    """Check that a label by hand ends in the recording.

    Raises:
        ScenarioError: it does not (`scenario.labels`).
    """
    if label.end_ms > duration_ms + ROUNDING_MS:
        raise ScenarioError(
            f"{label.origin} ends the speech at {label.end_ms:,.0f} ms, but the recording is {duration_ms:,.0f} ms "
            "long: times count from the start of the file",
            code="scenario.labels",
        )


def check_noisy_clip(path: Path, audio: SourceAudio, clip: Clip | str, turn: Turn) -> Clip | str:
    """Return the clip of a recording by the threshold, or relative to its noise floor, or why neither is sure.

    A recording in which sound goes on to the end of the file has no end by the threshold: speech, noise or the
    recording itself may end there.

    Args:
        path: The recording.
        audio: The same, read.
        clip: The clip by the threshold, or why there is none.
        turn: What it is the voice of.
    """
    check = check_recording(path)
    if check.label.is_firm and check.tail_ms >= TAIL_MS:
        return clip
    label = label_by_floor(*read_mono(path))
    if label is None or threshold_stands(check, label):
        return clip if isinstance(clip, str) or check.tail_ms >= TAIL_MS else GOES_ON
    if label.is_sure:
        return make_labelled_clip(turn.key, audio, label, turn.expect)
    reason = f"its end is not sure relative to its noise floor ({'; '.join(label.doubts)}); {ADVICE}"
    return reason if isinstance(clip, Clip) else f"{clip}, and {reason}"


def threshold_stands(check: RecordingCheck, label: FloorLabel) -> bool:
    """Return whether the label by threshold counts, firm or not, and not the one relative to the noise floor.

    It does for every clean recording: firm, and followed by 100 ms without sound; or cut where the speech ends; or not
    firm, over a floor that is far under the threshold. Noise over the threshold makes it void: if what follows the
    speech is that, or if the recording never falls under the threshold.
    """
    if check.label.is_firm and check.tail_ms >= TAIL_MS:
        return True
    is_void = is_never_quiet(check) or is_noise_after(check, label.end_ms)
    if not check.label.is_firm:
        return not is_void
    return not is_void or (check.end_ms - label.end_ms <= MAX_MOVE_MS and not is_never_quiet(check))


def is_noise_after(check: RecordingCheck, end_ms: float) -> bool:
    """Return whether noise over the threshold, and no speech, follows the end: 15 dB or more under the speech."""
    levels = levels_dbfs(check.pcm)
    tail = levels[round(end_ms / FRAME_MS) :]
    if len(tail) < FLOOR_FRAMES:
        return False
    loudest = float(np.percentile(levels, 95))
    mean = float(10 * np.log10(np.mean(10 ** (tail / 10))))
    return float(np.median(tail)) > check.threshold_dbfs - SHIFT_DB and mean < loudest - QUIETER_DB


def is_never_quiet(check: RecordingCheck) -> bool:
    """Return whether a recording of a second or more is over its threshold all the time, but for 2 % of it."""
    over = levels_dbfs(check.pcm) > check.threshold_dbfs
    return check.duration_ms >= NEVER_QUIET_FROM_MS and float(over.mean()) > NEVER_QUIET_SHARE


def to_sample(ms: float) -> int:
    """Return a time in ms as a sample at 8 kHz."""
    return round(ms * SAMPLE_RATE / 1000)
