"""The time to substance: when the first content of a reply is audible. Pure.

Sound that carries no content is no answer: openings such as "um" or a bare "thank you," (`scenario.content`), a tone,
noise, whatever was sent before the first clause. Two sources say where content starts:

- **The agent's spans**: the text of each clause, and which samples of the reply are its own. The first word that is no
  opening names the clause that starts the content. Where that clause has an opening before it ("um, the office is
  open") the content starts after the first pause that follows the opening; without a pause at the clause's start.
- **A transcript** of the recording with the times of its words, where the spans do not know: the start of the first
  word that is no opening, moved to the onset of the piece of sound that it starts.

Where neither is at hand the substance gap is not known, which is no statement about the agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from turngap.caller import onset, playout
from turngap.caller.clause_playout import PlayedClause, place_clauses
from turngap.caller.onset import AudibleFrames, Segment
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import CallRecord, Pcm16
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario.content import Openings, Word
from turngap.scoring import outcomes
from turngap.scoring.attempts import CallSpans, first_sent_ns
from turngap.scoring.milestones import Milestones
from turngap.scoring.outcomes import WORDLESS

SPANS, TRANSCRIPT = "spans", "transcript"
PAUSE_NS = 200 * NS_PER_MS
"""Silence after an opening inside a clause that sets the content apart from it."""
OPENING_WORD_NS = 600 * NS_PER_MS
"""... if it starts within this time a word of the opening: a pause later on is one inside the content."""


@dataclass(frozen=True, slots=True)
class Substance:
    """Where the content of a reply starts, as far as that is known."""

    at_ns: int | None
    """The first audible sample of the first content; None if there was none, or if it is not known."""
    source: str
    """`SPANS`, `TRANSCRIPT`, or "" where it is not known."""
    contentless: str = ""
    """What was heard before it; all that was heard if there was no content."""
    note: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it is known when content was heard, or that there was none."""
        return bool(self.source)


def find_substance(
    record: CallRecord, call: CallSpans, moments: Milestones, before_ns: int, openings: Openings
) -> Substance:
    """Return where the content of the reply starts, according to the agent's spans.

    Args:
        record: The call.
        call: Its spans.
        moments: The turn's milestones.
        before_ns: When the next utterance started, or the call's end.
        openings: What carries no content.
    """
    t1_ns = moments.t1_ns
    if t1_ns is None:
        return Substance(None, "", note="there was no answer")
    attempts = [
        span
        for span in call.turns
        if (sent_ns := first_sent_ns(span)) is not None and moments.speech_ns <= sent_ns < before_ns
    ]
    if not attempts:
        return Substance(None, "", note=call.note or "no attempt says that it sent what was heard")
    names = {(span.turn, span.attempt) for span in attempts}
    clauses = [
        clause for clause in place_clauses(call.spans, record.received) if (clause.turn, clause.attempt) in names
    ]
    unreported = names - {(clause.turn, clause.attempt) for clause in clauses}
    if unreported or not call.whole:
        return Substance(None, "", note=call.note or "the agent's spans do not say when each clause was played")
    return _from_clauses(playout.played_segments(record.received), clauses, t1_ns, openings)


def _from_clauses(
    segments: Sequence[Segment], clauses: Sequence[PlayedClause], t1_ns: int, openings: Openings
) -> Substance:
    words = [(word, clause) for clause in clauses for word in clause.words]
    first = openings.count([word for word, _ in words])
    before = " ".join(word.text for word, _ in words[:first])
    if first == len(words) or (start_ns := words[first][1].start_ns) is None:
        return Substance(None, SPANS, before or WORDLESS)
    clause = words[first][1]
    at_ns = t1_ns if start_ns <= t1_ns else onset.find_onset(segments, start_ns)
    if at_ns is None:
        return Substance(None, SPANS, before or WORDLESS)
    opening = [word for word, of in words[:first] if of is clause]
    note = ""
    if opening:
        end_ns = clause.end_ns if clause.end_ns is not None else segments[-1].end_ns
        after_ns = _find_after_pause(segments, at_ns, end_ns, len(opening))
        text = " ".join(word.text for word in opening)
        if after_ns is None:
            before = " ".join(word.text for word, of in words[:first] if of is not clause)
            note = f"no pause follows {text!r}: content counts from its clause's start"
        else:
            at_ns, note = after_ns, f"content counts from the pause after {text!r}"
    starts_ns = clauses[0].start_ns
    if not before and at_ns > t1_ns and starts_ns is not None and starts_ns > t1_ns:
        before = WORDLESS
    return Substance(at_ns, SPANS, before if at_ns > t1_ns else "", note)


def _find_after_pause(segments: Sequence[Segment], from_ns: int, end_ns: int, opening_words: int) -> int | None:
    """Return the first onset after a pause that follows the opening at `from_ns`; None if no pause does."""
    frames = onset.audible_frames(segments, from_ns)
    starts_ns = frames.start_ns[frames.start_ns < end_ns]
    ends_ns = starts_ns + frames.samples[: len(starts_ns)] * NS_PER_SAMPLE
    pauses = np.flatnonzero(starts_ns[1:] - ends_ns[:-1] >= PAUSE_NS)
    if not len(pauses) or ends_ns[pauses[0]] > from_ns + opening_words * OPENING_WORD_NS:
        return None
    return onset.find_onset(segments, int(ends_ns[pauses[0]]))


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word that the recogniser heard; ms from the start of the recording that it was given."""

    text: str
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class HeardContent:
    """Where the content of a recorded reply starts, ms from the recording's start."""

    at_ms: float | None
    """None: no content was heard."""
    contentless: str
    uncertainty_ms: float
    """By how much it may be wrong: small where a silence precedes the content."""


SNAPPED_MS, UNSNAPPED_MS = 20.0, 200.0
"""How far off a start is that is the onset of a sound, and one that is a recogniser's word time."""
_WORD_SLACK_MS = 300.0
"""A recogniser places a word's edge up to so far inside the silence beside it."""


def find_content(pcm: Pcm16, words: Sequence[HeardWord], openings: Openings) -> HeardContent:
    """Return where the content of a reply starts, by its recording from t1 on (8 kHz) and the words in it.

    A word's time is moved to the onset of the piece of sound, between silences of 200 ms, that the word starts.
    """
    pieces = _sound_pieces(pcm)
    heard = [
        Word(word.text, stands_last=place + 1 == len(words) or _apart(pieces, word, words[place + 1]))
        for place, word in enumerate(words)
    ]
    first = openings.count(heard)
    before = " ".join(word.text for word in words[:first])
    if first == len(words):
        return HeardContent(None, before or WORDLESS, 0.0)
    word = words[first]
    piece = _piece_of(pieces, word)
    start_ms, uncertainty_ms = word.start_ms, UNSNAPPED_MS
    if piece is not None and (first == 0 or _piece_of(pieces, words[first - 1]) != piece):
        start_ms, uncertainty_ms = piece[0], SNAPPED_MS
    if not before and pieces and start_ms > pieces[0][0]:
        before = WORDLESS
    return HeardContent(max(float(start_ms), 0.0), before, uncertainty_ms)


def with_content(turn: TurnRecord, content: HeardContent, *, interrupted: bool) -> TurnRecord:
    """Return the turn with the substance of its transcribed reply, and the outcome that follows from it.

    Without content a turn that was answered is missed, unless the caller `interrupted` the reply on purpose. What
    playout ran dry before the content is no underrun of the reply: a turn that was broken by nothing else is answered.
    """
    assert turn.turn_gap_ms is not None
    update: dict[str, Any] = {"substance_from": TRANSCRIPT, "contentless": content.contentless}
    if content.at_ms is None:
        update["substance_note"] = "by the transcript of the recording, no content was heard"
        if turn.outcome is Outcome.ANSWERED and not interrupted:
            listened_ms = turn.turn_gap_ms + (turn.reply_ms or 0.0)
            update["outcome"] = Outcome.MISSED
            update["detail"] = outcomes.describe_no_content(content.contentless, listened_ms)
        return turn.model_copy(update=update)
    gap_ms = turn.turn_gap_ms + content.at_ms
    update["substance_gap_ms"] = gap_ms
    if turn.perceived_gap_ms is not None:
        update["perceived_substance_ms"] = turn.perceived_gap_ms + content.at_ms
    update["substance_note"] = f"by the transcript of the recording, within {content.uncertainty_ms:.0f} ms"
    return turn.model_copy(update=update | _without_early_underruns(turn, gap_ms))


def _without_early_underruns(turn: TurnRecord, content_ms: float) -> dict[str, Any]:
    """Return what changes if the underruns before the content, `content_ms` after t0, are none."""
    if len(turn.underruns_at_ms) != len(turn.underruns_ms):
        return {}
    holes = list(zip(turn.underruns_at_ms, turn.underruns_ms, strict=True))
    kept = [(at_ms, ms) for at_ms, ms in holes if at_ms + ms > content_ms]
    if len(kept) == len(holes):
        return {}
    update: dict[str, Any] = {
        "underruns_at_ms": tuple(at_ms for at_ms, _ in kept),
        "underruns_ms": tuple(ms for _, ms in kept),
    }
    alone = turn.detail == outcomes.describe_underruns(sum(turn.underruns_ms))
    if turn.outcome is Outcome.BROKEN and alone and sum(update["underruns_ms"]) <= outcomes.UNDERRUN_LIMIT_MS:
        late = max(turn.lateness_send_ms, turn.lateness_recv_ms) > outcomes.LATENESS_LIMIT_MS
        update |= {"outcome": Outcome.INVALID if late else Outcome.ANSWERED}
        update["detail"] = "the instrument was late" if late else ""
    return update


def _sound_pieces(pcm: Pcm16) -> list[tuple[float, float]]:
    """Return start and end, ms, of each piece of sound between silences of `PAUSE_NS`."""
    frames: AudibleFrames = onset.audible_frames((Segment(0, pcm),))
    if not len(frames.start_ns):
        return []
    ends_ns = frames.start_ns + frames.samples * NS_PER_SAMPLE
    cuts = np.flatnonzero(frames.start_ns[1:] - ends_ns[:-1] >= PAUSE_NS)
    starts_ns = frames.start_ns[np.concatenate([[0], cuts + 1])]
    stops_ns = ends_ns[np.concatenate([cuts, [len(ends_ns) - 1]])]
    return [(start / NS_PER_MS, end / NS_PER_MS) for start, end in zip(starts_ns, stops_ns, strict=True)]


def _piece_of(pieces: Sequence[tuple[float, float]], word: HeardWord) -> tuple[float, float] | None:
    """Return the piece that shares most time with the word; the nearest one if none does."""
    if not pieces:
        return None
    shared = [min(end, word.end_ms) - max(start, word.start_ms) for start, end in pieces]
    best = max(range(len(pieces)), key=shared.__getitem__)
    return pieces[best] if shared[best] > -_WORD_SLACK_MS else None


def _apart(pieces: Sequence[tuple[float, float]], word: HeardWord, next_word: HeardWord) -> bool:
    """Return whether a pause separates two words."""
    return _piece_of(pieces, word) != _piece_of(pieces, next_word)
