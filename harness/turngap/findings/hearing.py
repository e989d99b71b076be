"""Sound that is no answer: the caller's own voice, messages that come twice, silence, faint sound. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import signal

from turngap.caller import onset
from turngap.caller.onset import AUDIBLE_DBFS, Segment
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE, to_ms
from turngap.model.finding import Finding, FindingKind
from turngap.model.records import CallRecord, Pcm16

HEARD_DBFS = -65.0
"""A fainter frame is silence."""
FAINT_FRAMES = 20
"""200 ms."""
SILENT_SAMPLES = 1600
LOUD = 300
REPEATED_MESSAGES, REPEATED_SHARE = 6, 0.6
PADDED_MESSAGES, PADDED_SHARE = 8, 0.6
PADDED_PIECE_SAMPLES, PADDING_SAMPLES = 1600, 16
"""Of messages up to 200 ms, 2 ms of silence at an end: in speech few pieces have that, where a word begins or ends."""
ZERO = 8
"""The smallest sample of μ-law that is not 0."""
ECHO_NS = 3_000 * NS_PER_MS
"""An echo comes back within this time."""
ECHO_SAMPLES, LONGEST_SAMPLES = 16_000, 64_000
ECHO_LIKENESS = 0.6
"""Of the correlation at its peak: other voices, and tones of other pitches, have under 0.3."""
TOLD_OF_ECHO_SAMPLES = 1600


def find_hearing_faults(record: CallRecord, segments: Sequence[Segment]) -> list[Finding]:
    """Return what in a call's played audio, `segments`, or in its messages is no answer."""
    findings = [_find_silence(record, segments), _find_repeated(record), _find_padded(record), _find_echo(record)]
    return [finding for finding in findings if finding is not None]


def _find_silence(record: CallRecord, segments: Sequence[Segment]) -> Finding | None:
    levels = np.concatenate([np.empty(0), *(onset.levels_dbfs(segment.pcm) for segment in segments)])
    samples = sum(len(segment.pcm) for segment in segments)
    if samples < SILENT_SAMPLES or not record.spoken or (levels > AUDIBLE_DBFS).sum() * onset.LEVEL_FRAME_NS >= ECHO_NS:
        return None
    if onset.find_onset(segments) is not None:
        return None
    heard = levels[levels > HEARD_DBFS]
    if len(heard) >= FAINT_FRAMES:
        return Finding(kind=FindingKind.FAINT, count=1, value=round(float(np.percentile(heard, 95)), 1))
    return Finding(kind=FindingKind.SILENT, count=1, value=samples / 8)


def _find_repeated(record: CallRecord) -> Finding | None:
    """Find pairs of equal messages; a tone's messages are all alike, and no pairs."""
    loud = [message.pcm for message in record.received if len(message.pcm) and int(np.abs(message.pcm).max()) > LOUD]
    if len(loud) < REPEATED_MESSAGES:
        return None
    same = np.array([np.array_equal(one, other) for one, other in pairwise(loud)])
    paired = np.append(same, False) ^ np.insert(same, 0, False)
    if paired.mean() < REPEATED_SHARE:
        return None
    return Finding(kind=FindingKind.REPEATED, count=int(same.sum()))


def _find_padded(record: CallRecord) -> Finding | None:
    """Find short messages that begin or end with silence although there is speech in them and beside them."""
    pieces = [message.pcm for message in record.received if 0 < len(message.pcm) <= PADDED_PIECE_SAMPLES]
    places = [np.flatnonzero(np.abs(pcm.astype(np.int32)) > ZERO) for pcm in pieces if int(np.abs(pcm).max()) > LOUD]
    sizes = [len(pcm) for pcm in pieces if int(np.abs(pcm).max()) > LOUD]
    ends = np.array([max(at[0], size - 1 - at[-1]) for at, size in zip(places, sizes, strict=True)], np.int64)
    padded = ends[ends >= PADDING_SAMPLES]
    if len(ends) < PADDED_MESSAGES or len(padded) < PADDED_SHARE * len(ends):
        return None
    return Finding(kind=FindingKind.PADDED, count=len(padded), value=round(float(np.median(padded)) / 8, 1))


def _find_echo(record: CallRecord) -> Finding | None:
    """Find the caller's voice in what was received: there it has no holes, however it was played."""
    sizes = np.cumsum([0, *(len(message.pcm) for message in record.received)])
    delays_ms = []
    for spoken in record.spoken:
        voice = spoken.clip.pcm[spoken.clip.speech_start_sample :][:ECHO_SAMPLES]
        from_ns = record.sample_ns(spoken.start_sample + spoken.clip.speech_start_sample)
        to_ns = from_ns + len(voice) * NS_PER_SAMPLE + ECHO_NS
        within = [index for index, message in enumerate(record.received) if from_ns <= message.recv_ns < to_ns]
        if len(voice) < TOLD_OF_ECHO_SAMPLES or not within:
            continue
        heard = np.concatenate([record.received[index].pcm for index in within])[:LONGEST_SAMPLES]
        at = _find_alike(heard, voice)
        if at is not None:
            index = int(np.searchsorted(sizes, sizes[within[0]] + at, side="right")) - 1
            message = record.received[index]
            played_ns = message.play_ns + (int(sizes[within[0]]) + at - int(sizes[index])) * NS_PER_SAMPLE
            delays_ms.append(to_ms(played_ns - from_ns))
    if not delays_ms:
        return None
    return Finding(kind=FindingKind.ECHO, count=len(delays_ms), value=round(max(delays_ms), 1))


def _find_alike(heard: Pcm16, voice: Pcm16) -> int | None:
    """Return the sample of `heard`, shape (n,), from which on it is like `voice`, shape (m,); None if it never is."""
    if len(heard) < len(voice):
        return None
    one: npt.NDArray[np.float64] = voice.astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(np.square(heard.astype(np.float64)))])
    energy = sums[len(one) :] - sums[: len(sums) - len(one)]
    products = signal.correlate(heard.astype(np.float64), one, "valid", "fft")
    floor = np.square(LOUD / 10) * len(one)
    likeness = products / np.sqrt(np.maximum(energy, floor) * np.square(one).sum() + 1.0)
    best = float(likeness.max())
    return int((likeness >= 0.95 * best).argmax()) if best >= ECHO_LIKENESS else None
