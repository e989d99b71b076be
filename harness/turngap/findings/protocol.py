"""What the agent did with the call: its background, marks, `clear`, second answers, beeps. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from turngap.caller import onset, playout
from turngap.caller.background import VOICE_FRAMES, VOICE_OVER_BACKGROUND_DB, LevelFrames, measure_levels
from turngap.caller.dialects.registry import SIP
from turngap.caller.onset import AUDIBLE_DBFS, AudibleFrames, Segment
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE, to_ms
from turngap.model.finding import Finding, FindingKind
from turngap.model.records import CallEnd, CallRecord, Pcm16, Spoken
from turngap.model.turn import TurnRecord
from turngap.scoring.clause_onset import is_steady, render
from turngap.scoring.continuation import find_piece
from turngap.scoring.heard_sound import NOTICE_NS, list_quiet_times

TOLD_DBFS = -60.0
"""A fainter background is not told."""
ALWAYS = 0.95
"""Share of the quiet time in which an agent is audible that is never silent."""
TOLD_SHARE = 0.5
UNMARKED_NS = 500 * NS_PER_MS
"""A call is heard for so long after the last audio before it is said that no mark came."""
BUFFERED_MS = 200.0
"""With less of the old reply left when the caller speaks, a `clear` changes nothing."""
LATE_CLEAR_NS = 1_500 * NS_PER_MS
"""A `clear` so soon after the caller's speech may still be meant for it."""
STALE_MS = 20.0
PIECE_NS = 200 * NS_PER_MS
APART_NS = 800 * NS_PER_MS
"""Silence that makes a second answer of what follows."""
ANSWER_MS = 300.0
"""Less sound is no answer of its own."""
BEEP_MS = 600.0
_SAME_START_SAMPLES = 800


def find_protocol_faults(record: CallRecord, turns: Sequence[TurnRecord]) -> list[Finding]:
    """Return what the agent of a call did, or did not do, that its author should know."""
    segments = playout.played_segments(record.received)
    audible = onset.audible_frames(segments, audible_dbfs=record.audible_dbfs)
    findings = [_find_background(record, segments), _find_no_marks(record, segments)]
    findings += [_find_own_clears(record)]
    findings += _find_barge_in_faults(record, turns, audible)
    findings += _find_second_answers(record, turns, segments, audible)
    return [finding for finding in findings if finding is not None]


def _find_background(record: CallRecord, segments: Sequence[Segment]) -> Finding | None:
    if record.background_dbfs is not None:
        return Finding(kind=FindingKind.BACKGROUND, count=1, value=round(record.background_dbfs, 1))
    quiet = list_quiet_times(record)
    frames = measure_levels(segments)
    levels = frames.dbfs[frames.lie_in(quiet)]
    total = sum(to_ns - from_ns for from_ns, to_ns in quiet) / onset.LEVEL_FRAME_NS
    if not total or len(frames.dbfs) <= VOICE_FRAMES:
        return None
    if float((levels > AUDIBLE_DBFS).sum()) >= ALWAYS * total and len(record.spoken) > 1 and _is_voice(frames, levels):
        return Finding(kind=FindingKind.LOUD_BACKGROUND, count=1, value=round(float(np.median(levels)), 1))
    told = levels[(levels > TOLD_DBFS) & (levels <= AUDIBLE_DBFS)]
    if len(told) < TOLD_SHARE * total:
        return None
    return Finding(kind=FindingKind.BACKGROUND, count=1, value=round(float(np.percentile(told, 98)), 1))


def _is_voice(frames: LevelFrames, levels: npt.NDArray[np.float64]) -> bool:
    """Return whether these levels are those of the loudest sound of the call."""
    voice_dbfs = float(np.partition(frames.dbfs, -VOICE_FRAMES)[-VOICE_FRAMES])
    return float(np.median(levels)) > voice_dbfs - 2 * VOICE_OVER_BACKGROUND_DB


def _find_no_marks(record: CallRecord, segments: Sequence[Segment]) -> Finding | None:
    if record.marks or not segments or record.end is not CallEnd.COMPLETED or record.dialect == SIP:
        return None
    heard_ns = segments[-1].end_ns
    heard = any(len(message.pcm) and message.played_samples == len(message.pcm) for message in record.received)
    ended = record.ended_ns - heard_ns >= UNMARKED_NS
    return Finding(kind=FindingKind.NO_MARKS, count=1) if heard and ended else None


def _find_own_clears(record: CallRecord) -> Finding | None:
    """Find `clear` while the caller had been silent for long: speech in the buffer was lost."""
    lost_ms = []
    for place, clear_ns in enumerate(record.clears_ns):
        speaks = any(
            _speech_ns(record, spoken) <= clear_ns <= record.sample_ns(spoken.end_sample) + LATE_CLEAR_NS
            for spoken in record.spoken
        )
        since_ns = record.clears_ns[place - 1] if place else 0
        rests = [one.pcm[one.played_samples :] for one in record.received if since_ns <= one.recv_ns <= clear_ns]
        levels = [onset.levels_dbfs(rest) for rest in rests if len(rest)]
        left_ms = 10.0 * sum(int((each > record.audible_dbfs).sum()) for each in levels)
        if not speaks and left_ms >= BUFFERED_MS:
            lost_ms.append(left_ms)
    return Finding(kind=FindingKind.CLEARED_OWN, count=len(lost_ms), value=round(max(lost_ms), 1)) if lost_ms else None


def _speech_ns(record: CallRecord, spoken: Spoken) -> int:
    return record.sample_ns(spoken.start_sample + spoken.clip.speech_start_sample)


def _find_barge_in_faults(record: CallRecord, turns: Sequence[TurnRecord], audible: AudibleFrames) -> Iterator[Finding]:
    no_clear_ms, stale_ms = [], []
    for index, (turn, spoken) in enumerate(zip(turns, record.spoken, strict=False)):
        if not turn.is_barge_in:
            continue
        speech_ns = _speech_ns(record, spoken)
        until_ns = record.sample_ns(record.spoken[index + 1].start_sample) if index + 1 < len(record.spoken) else None
        clears_ns = [
            at_ns for at_ns in record.clears_ns if at_ns >= speech_ns and (until_ns is None or at_ns < until_ns)
        ]
        if not clears_ns:
            old = [message for message in record.received if message.recv_ns < speech_ns + NOTICE_NS]
            end_ns = max((one.play_ns + one.played_samples * NS_PER_SAMPLE for one in old), default=0)
            left_ms = _audible_ms(audible, speech_ns, end_ns)
            if left_ms >= BUFFERED_MS:
                no_clear_ms.append(left_ms)
            continue
        t0_ns = record.sample_ns(spoken.end_sample)
        after = [one for one in record.received if one.recv_ns >= clears_ns[0] and one.play_ns < t0_ns]
        late_ms = sum(
            _audible_ms(audible, one.play_ns, min(t0_ns, one.play_ns + one.played_samples * NS_PER_SAMPLE))
            for one in after
        )
        if late_ms >= STALE_MS:
            stale_ms.append(late_ms)
    for kind, found_ms in ((FindingKind.NO_CLEAR, no_clear_ms), (FindingKind.SENT_AFTER_CLEAR, stale_ms)):
        if found_ms:
            yield Finding(kind=kind, count=len(found_ms), value=round(max(found_ms), 1))


def _find_second_answers(
    record: CallRecord, turns: Sequence[TurnRecord], segments: Sequence[Segment], audible: AudibleFrames
) -> Iterator[Finding]:
    twice, beeps_ms = 0, []
    for index, (turn, _) in enumerate(zip(turns, record.spoken, strict=False)):
        if turn.t1_ns is None:
            continue
        later = record.spoken[index + 1] if index + 1 < len(record.spoken) else None
        until_ns = record.ended_ns if later is None else record.sample_ns(later.start_sample)
        pieces = _list_pieces(audible, turn.t1_ns, until_ns)
        if len(pieces) < 2:
            continue
        sounds = [render(segments, first, beyond) for first, beyond in pieces]
        is_tone = is_steady(sounds[0])
        if is_tone and to_ms(pieces[0][1] - pieces[0][0]) <= BEEP_MS and not all(map(is_steady, sounds[1:])):
            beeps_ms.append(to_ms(pieces[0][1] - pieces[0][0]))
            continue
        answers = [piece for piece in pieces if to_ms(piece[1] - piece[0]) >= ANSWER_MS]
        apart = any(after[0] - before[1] >= APART_NS for before, after in pairwise(answers))
        again = not is_tone and any(_begins_alike(sounds[0], sound) for sound in sounds[1:])
        twice += bool(apart and to_ms(pieces[0][1] - pieces[0][0]) >= ANSWER_MS) or again
    if twice:
        yield Finding(kind=FindingKind.SPOKE_TWICE, count=twice)
    if beeps_ms:
        yield Finding(kind=FindingKind.BEEP, count=len(beeps_ms), value=round(max(beeps_ms), 1))


def _list_pieces(audible: AudibleFrames, from_ns: int, until_ns: int) -> list[tuple[int, int]]:
    """Return (from_ns, to_ns) of each piece of sound between silences of 200 ms."""
    first, beyond = np.searchsorted(audible.start_ns, [from_ns - onset.LEVEL_FRAME_NS + 1, until_ns])
    starts_ns = audible.start_ns[first:beyond]
    ends_ns = starts_ns + audible.samples[first:beyond] * NS_PER_SAMPLE
    if not len(starts_ns):
        return []
    cuts = np.flatnonzero(starts_ns[1:] - ends_ns[:-1] >= PIECE_NS)
    firsts, lasts = np.concatenate([[0], cuts + 1]), np.concatenate([cuts, [len(ends_ns) - 1]])
    return [(int(starts_ns[one]), int(ends_ns[other])) for one, other in zip(firsts, lasts, strict=True)]


def _begins_alike(first: Pcm16, second: Pcm16) -> bool:
    """Return whether a piece of sound begins with the same 200 ms as an earlier one."""
    place = find_piece(first, second, near=0)
    return place is not None and place <= _SAME_START_SAMPLES and len(second) >= ANSWER_MS * 8


def _audible_ms(audible: AudibleFrames, from_ns: int, to_ns: int) -> float:
    ends_ns = np.minimum(audible.start_ns + audible.samples * NS_PER_SAMPLE, to_ns)
    return to_ms(int(np.maximum(0, ends_ns - np.maximum(audible.start_ns, from_ns)).sum()))
