"""Audio that comes at the wrong time: silence before the voice, bursts that starve the buffer, too much. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from turngap.caller import onset, playout
from turngap.clock import NS_PER_MS, to_ms
from turngap.model.finding import Finding, FindingKind
from turngap.model.records import CallEnd, CallRecord
from turngap.model.turn import TurnRecord
from turngap.scoring.milestones import find_message_playing

SILENT_HEAD_MS = 100.0
"""Silence that was sent before the voice and had to be played first."""
DRIP_HOLES, DRIP_MS = 3, 60.0
"""A reply with so many holes, most of them shorter than this, is sent too slowly, piece by piece; others in bursts."""
CLOSED_EARLY_MS = 20.0
HUGE_SAMPLES = 480_000
"""A minute of audio in one message."""
_SAMPLES_OF_BYTE = 0.75
"""Of μ-law as base64 in a message that was too long to be read."""
FLOOD_MESSAGES = 1_000
"""Messages in one second: fifty are needed, and a reply may come ahead of time ..."""
FLOOD_MARKS = 200
"""... but no reply needs so many marks."""


def find_timing_faults(record: CallRecord, turns: Sequence[TurnRecord]) -> list[Finding]:
    """Return what was wrong with when the audio of a call came."""
    findings = [_find_silent_heads(record, turns), *_find_underruns(record, turns), _find_overflow(record)]
    findings += [_find_early_close(record), _find_huge_messages(record), _find_flood(record)]
    return [finding for finding in findings if finding is not None]


def _find_silent_heads(record: CallRecord, turns: Sequence[TurnRecord]) -> Finding | None:
    """Find answers whose voice was received, and waited for silence that was sent before it."""
    segments = playout.played_segments(record.received)
    frames = onset.audible_frames(segments, audible_dbfs=record.audible_dbfs)
    waits_ms = []
    for turn in turns:
        message = find_message_playing(record.received, turn.t1_ns) if turn.t1_ns is not None else None
        if message is None or turn.t1_ns is None:
            continue
        from_ns = max(message.recv_ns, turn.t0_ns)
        first, beyond = np.searchsorted(frames.start_ns, [from_ns - onset.LEVEL_FRAME_NS, turn.t1_ns - 15 * NS_PER_MS])
        wait_ms = to_ms(turn.t1_ns - from_ns)
        if wait_ms >= SILENT_HEAD_MS and first >= beyond:
            waits_ms.append(wait_ms)
    if not waits_ms:
        return None
    return Finding(kind=FindingKind.SILENT_HEAD, count=len(waits_ms), value=round(max(waits_ms), 1))


def _find_underruns(record: CallRecord, turns: Sequence[TurnRecord]) -> list[Finding]:
    found: dict[FindingKind, list[float]] = {}
    for turn in turns:
        if turn.t1_ns is None or not turn.underruns_ms or turn.reply_ms is None:
            continue
        dry_ms = sum(turn.underruns_ms)
        steady = len(turn.underruns_ms) >= DRIP_HOLES and float(np.median(turn.underruns_ms)) < DRIP_MS
        kind = FindingKind.DRIPPED if steady else FindingKind.STARVED
        found.setdefault(kind, []).append(dry_ms)
    return [
        Finding(kind=kind, count=len(dry_ms), value=round(max(dry_ms), 1)) for kind, dry_ms in sorted(found.items())
    ]


def _find_overflow(record: CallRecord) -> Finding | None:
    lost = record.discarded_samples
    if not lost:
        return None
    return Finding(kind=FindingKind.OVERFLOWED, count=len(lost), value=round(sum(lost) / 8000, 1), note=record.buffer)


def _find_early_close(record: CallRecord) -> Finding | None:
    if record.end is not CallEnd.AGENT_CLOSED:
        return None
    cleared_ns = max(record.clears_ns, default=0)
    later = [message for message in record.received if message.recv_ns >= cleared_ns]
    unplayed_ms = sum(len(message.pcm) - message.played_samples for message in later) / 8
    if unplayed_ms < CLOSED_EARLY_MS:
        return None
    return Finding(kind=FindingKind.CLOSED_EARLY, count=1, value=round(unplayed_ms, 1))


def _find_huge_messages(record: CallRecord) -> Finding | None:
    """Find messages of a minute and more, read or not; pieces that arrive at one instant were one message."""
    sizes = [
        sum(len(message.pcm) for message in pieces)
        for _, pieces in groupby(record.received, key=lambda message: message.recv_ns)
    ]
    sizes += [round(size_bytes * _SAMPLES_OF_BYTE) for size_bytes in record.refused_bytes]
    huge = [size for size in sizes if size >= HUGE_SAMPLES]
    return Finding(kind=FindingKind.HUGE_MESSAGE, count=len(huge), value=max(huge) / 8000) if huge else None


def _find_flood(record: CallRecord) -> Finding | None:
    if record.end is CallEnd.FLOODED:
        return Finding(kind=FindingKind.FLOODED, count=1)
    marks_ns = [mark.recv_ns for mark in record.marks]
    messages, marks = (
        _most_in_a_second([one.recv_ns for one in record.received] + marks_ns),
        _most_in_a_second(marks_ns),
    )
    if messages <= FLOOD_MESSAGES and marks <= FLOOD_MARKS:
        return None
    return Finding(kind=FindingKind.FLOOD, count=len(record.received) + len(marks_ns), value=messages)


def _most_in_a_second(at_ns: Sequence[int]) -> int:
    times_ns = np.sort(np.array(at_ns, np.int64))
    beyond = np.searchsorted(times_ns, times_ns + 1_000 * NS_PER_MS)
    return int((beyond - np.arange(len(times_ns))).max(initial=0))
