"""Where the content of a reply starts by a transcript of its recording, and what follows for its turn. Pure.

The content starts with the first word that is no opening, at the onset of the piece of sound that the word starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from turngap.caller import onset
from turngap.caller.onset import AudibleFrames, Segment
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import Pcm16
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario.content import Openings, Word
from turngap.scoring import outcomes, wer
from turngap.scoring.clause_onset import NO_PAUSE
from turngap.scoring.outcomes import WORDLESS
from turngap.scoring.substance import TRANSCRIPT

PAUSE_NS = 200 * NS_PER_MS
"""Silence between two pieces of sound."""


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
    text: str = ""
    """All words that were heard."""
    latest_ms: float = 0.0
    """When the first word with content has ended: content cannot start later, even if an opening was not recognised."""


DIFFERENCE_MS = 300.0
"""Content that a transcript shows so much later contradicts the spans."""
COMPARED_WORDS = 3
"""A recogniser may mishear a shorter clause altogether."""
SNAPPED_MS, UNSNAPPED_MS = 20.0, 200.0
"""How far off a start is that is the onset of a sound, and one that is a recogniser's word time."""
TOUCHED_MS = 100.0
"""A word that lies so far in a piece of sound is in it."""
_NO_CONTENT = "the transcript shows no content"
_WORD_SLACK_MS = 300.0
"""A recogniser places a word's edge up to so far inside the silence beside it."""


def find_content(
    pcm: Pcm16, words: Sequence[HeardWord], openings: Openings, audible_dbfs: float = onset.AUDIBLE_DBFS
) -> HeardContent:
    """Return where the content of a reply starts, by its recording from t1 on (8 kHz) and the words in it.

    A word's time is moved to the onset of the piece of sound, between silences of 200 ms, that the word starts. Sound
    is what is over `audible_dbfs`.
    """
    pieces = _sound_pieces(pcm, audible_dbfs)
    heard = [
        Word(word.text, stands_last=place + 1 == len(words) or _apart(pieces, word, words[place + 1]))
        for place, word in enumerate(words)
    ]
    first = openings.count(heard)
    before = " ".join(word.text for word in words[:first])
    text = " ".join(word.text for word in words)
    if first == len(words):
        return HeardContent(None, before or WORDLESS, 0.0, text)
    word = words[first]
    piece = _piece_of(pieces, word)
    start_ms, uncertainty_ms = word.start_ms, UNSNAPPED_MS
    if piece is not None and (first == 0 or _piece_of(pieces, words[first - 1]) != piece):
        start_ms, uncertainty_ms = piece[0], SNAPPED_MS
    if not before and pieces and start_ms > pieces[0][0]:
        before = WORDLESS
    at_ms = max(float(start_ms), 0.0)
    return HeardContent(at_ms, before, uncertainty_ms, text, max(at_ms, word.end_ms))


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


def refine_content(turn: TurnRecord, content: HeardContent) -> TurnRecord:
    """Return a turn whose spans leave its content's start in doubt with the start that the transcript shows.

    The later time stays where the transcript knows no better: no content was heard, or an opening that the spans
    report was not, which recognisers leave out. Then content starts by the end of the first word at the latest.
    """
    assert turn.turn_gap_ms is not None
    assert turn.substance_gap_ms is not None
    if content.at_ms is None:
        if _NO_CONTENT in turn.substance_note:  # of an earlier session
            return turn
        return turn.model_copy(update={"substance_note": f"{turn.substance_note}; {_NO_CONTENT}"})
    missed = turn.substance_note.startswith(NO_PAUSE) and not content.contentless
    at_ms = content.at_ms if not missed else max(content.at_ms, content.latest_ms)
    if missed and turn.turn_gap_ms + at_ms >= turn.substance_gap_ms:
        return turn
    doubt = turn.substance_note
    refined = with_content(
        turn, replace(content, at_ms=at_ms, contentless=content.contentless or turn.contentless), interrupted=True
    )
    why = "the opening was not recognised: content counts from the end of its first word" if missed else doubt
    return refined.model_copy(update={"substance_note": f"{refined.substance_note} ({why})"})


def describe_difference(turn: TurnRecord, content: HeardContent) -> str:
    """Return how a transcript contradicts the clause with the first content, as the spans report it; "" if it does not.

    Content that is heard sooner than reported is no contradiction: an agent that reports it too late harms only itself.
    """
    assert turn.turn_gap_ms is not None
    assert turn.substance_gap_ms is not None
    if content.at_ms is None:
        return f"{turn.substance_text!r} was reported, no content was heard"
    later_ms = turn.turn_gap_ms + content.at_ms - turn.substance_gap_ms
    if later_ms > DIFFERENCE_MS:
        return f"{turn.substance_text!r} was heard {later_ms:.0f} ms later than reported"
    normalise = wer.load_normaliser()
    reported, heard = normalise(turn.substance_text).split(), normalise(content.text).split()
    if len(reported) >= COMPARED_WORDS and not set(reported) & set(heard):
        return f"{turn.substance_text!r} was reported, {content.text!r} heard"
    return ""


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


def _sound_pieces(pcm: Pcm16, audible_dbfs: float) -> list[tuple[float, float]]:
    """Return start and end, ms, of each piece of sound between silences of `PAUSE_NS`."""
    frames: AudibleFrames = onset.audible_frames((Segment(0, pcm),), audible_dbfs=audible_dbfs)
    if not len(frames.start_ns):
        return []
    ends_ns = frames.start_ns + frames.samples * NS_PER_SAMPLE
    cuts = np.flatnonzero(frames.start_ns[1:] - ends_ns[:-1] >= PAUSE_NS)
    starts_ns = frames.start_ns[np.concatenate([[0], cuts + 1])]
    stops_ns = ends_ns[np.concatenate([cuts, [len(ends_ns) - 1]])]
    return [(start / NS_PER_MS, end / NS_PER_MS) for start, end in zip(starts_ns, stops_ns, strict=True)]


def _piece_of(pieces: Sequence[tuple[float, float]], word: HeardWord) -> tuple[float, float] | None:
    """Return the piece that shares most time with the word; the nearest one if none does.

    Of two pieces that a word touches it is in the later one: no word has a silence inside it, and a recogniser
    stretches the first word of a sentence over the silence before it.
    """
    if not pieces:
        return None
    touched = [(start, end) for start, end in pieces if min(end, word.end_ms) - max(start, word.start_ms) >= TOUCHED_MS]
    if touched:
        return touched[-1]
    shared = [min(end, word.end_ms) - max(start, word.start_ms) for start, end in pieces]
    best = max(range(len(pieces)), key=shared.__getitem__)
    return pieces[best] if shared[best] > -_WORD_SLACK_MS else None


def _apart(pieces: Sequence[tuple[float, float]], word: HeardWord, next_word: HeardWord) -> bool:
    """Return whether a pause separates two words."""
    return _piece_of(pieces, word) != _piece_of(pieces, next_word)
