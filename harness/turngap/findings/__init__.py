"""What was wrong with what came back: findings of each call, from its record, and of a run. Pure.

They explain, and change no figure. Each is said once a run, with its counts and the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence

from turngap.caller.playout import played_segments
from turngap.findings import encoding, hearing, protocol, speech_rate, timing
from turngap.findings.wording import describe_finding
from turngap.model.finding import SPOILS_SOUND, Finding, FindingKind, RunFinding
from turngap.model.records import CallRecord
from turngap.model.turn import TurnRecord
from turngap.scoring.clause_onset import render
from turngap.scoring.heard_sound import select_speech

__all__ = ["find_in_call", "summarise_findings"]

_SOUND_KINDS = SPOILS_SOUND - {FindingKind.LOUD_BACKGROUND, FindingKind.WRONG_SILENCE}
_LEAST_NEGATIVE = frozenset(
    {FindingKind.FAINT, FindingKind.BACKGROUND, FindingKind.LOUD_BACKGROUND, FindingKind.WRONG_SILENCE}
)


def find_in_call(record: CallRecord, turns: Sequence[TurnRecord]) -> tuple[Finding, ...]:
    """Return the findings of one call, in the order of their kinds; `turns` are its turns as scored."""
    found = encoding.find_encoding_faults([message.pcm for message in record.received])
    heard = select_speech(record)
    found += hearing.find_hearing_faults(heard, played_segments(heard.received))
    if not any(finding.kind in _SOUND_KINDS for finding in found):  # else there is no speech to examine
        segments = played_segments(heard.received)
        replies = [
            render(segments, turn.t1_ns, turn.t1_ns + round(turn.reply_ms * 1e6))
            for turn in turns
            if turn.t1_ns is not None and turn.reply_ms is not None
        ]
        found += speech_rate.find_rate_faults(replies)
        found += protocol.find_protocol_faults(heard, turns)
    found += timing.find_timing_faults(heard, turns)
    order = list(FindingKind)
    return tuple(sorted(found, key=lambda finding: order.index(finding.kind)))


def summarise_findings(turns: Sequence[TurnRecord]) -> tuple[RunFinding, ...]:
    """Return the findings of a run's calls, one for each kind; turns that were called again are included."""
    by_kind: dict[FindingKind, list[Finding]] = {}
    calls_of: dict[FindingKind, set[int]] = {}
    for turn in turns:
        for finding in turn.findings:
            by_kind.setdefault(finding.kind, []).append(finding)
            calls_of.setdefault(finding.kind, set()).add(turn.call)
    summed = []
    for kind in FindingKind:
        found = by_kind.get(kind, [])
        if not found:
            continue
        count = sum(finding.count for finding in found)
        value = max(found, key=lambda finding: abs(finding.value)).value
        if kind in _LEAST_NEGATIVE:  # levels in dBFS
            value = max(finding.value for finding in found)
        note = next((finding.note for finding in found if finding.note), "")
        calls = len(calls_of[kind])
        text, remedy = describe_finding(kind, count, calls, value, note)
        summed.append(RunFinding(kind=kind, count=count, calls=calls, value=value, text=text, remedy=remedy))
    return tuple(summed)
