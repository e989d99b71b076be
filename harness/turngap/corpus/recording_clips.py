"""Clips of recordings whose end is labelled by hand, or relative to their noise floor."""

from __future__ import annotations

from pathlib import Path

from turngap_agent.errors import ScenarioError
from turngap_agent.telephony import SAMPLE_RATE

from turngap.caller.onset import levels_dbfs
from turngap.corpus.audio_sources import SourceAudio, read_mono
from turngap.corpus.concatenation import HEAD_SAMPLES, normalise
from turngap.corpus.floor_label import MAX_MOVE_MS, TAIL_MS, FloorLabel, label_by_floor
from turngap.corpus.hand_labels import HandLabel
from turngap.corpus.recording_check import RecordingCheck, check_recording
from turngap.corpus.recording_floor import make_floor_loop
from turngap.model.records import Clip, LabelSource
from turngap.scenario import Turn

ROUNDING_MS = 10.0
"""Label tools round times: an end later than the file's by this is the file's."""
NEVER_QUIET_FROM_MS, NEVER_QUIET_SHARE = 1000.0, 0.98
"""Clean speech of a second has closures in it that are 35 dB down; a word alone may have none."""
ADVICE = "label it by hand: `turngap label FILE --plot` shows where, and prints what to write"


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
            f"{label.origin} ends the speech at {label.end_ms:g} ms, but the recording is {duration_ms:.0f} ms long: "
            "times count from the start of the file",
            code="scenario.labels",
        )


def check_noisy_clip(path: Path, audio: SourceAudio, clip: Clip | str, turn: Turn) -> Clip | str:
    """Return the clip of a recording by the threshold, or relative to its noise floor, or why neither is sure.

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
        return clip
    if label.is_sure:
        return make_labelled_clip(turn.key, audio, label, turn.expect)
    reason = f"its end is not sure relative to its noise floor ({'; '.join(label.doubts)}); {ADVICE}"
    return reason if isinstance(clip, Clip) else f"{clip}, and {reason}"


def threshold_stands(check: RecordingCheck, label: FloorLabel) -> bool:
    """Return whether the label by threshold counts, and not the one relative to the noise floor.

    It does if it is firm and followed by 100 ms without sound. Otherwise noise may be over the threshold: if the speech
    ends earlier relative to the floor, by more than that label's own uncertainty may be, or if the recording never
    falls under the threshold, then only the label relative to the floor counts.
    """
    if not check.label.is_firm:
        return False
    return check.tail_ms >= TAIL_MS or (check.end_ms - label.end_ms <= MAX_MOVE_MS and not is_never_quiet(check))


def is_never_quiet(check: RecordingCheck) -> bool:
    """Return whether a recording of a second or more is over its threshold all the time, but for 2 % of it."""
    over = levels_dbfs(check.pcm) > check.threshold_dbfs
    return check.duration_ms >= NEVER_QUIET_FROM_MS and float(over.mean()) > NEVER_QUIET_SHARE


def to_sample(ms: float) -> int:
    """Return a time in ms as a sample at 8 kHz."""
    return round(ms * SAMPLE_RATE / 1000)
