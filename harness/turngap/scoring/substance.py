"""The time to substance: when the first content of a reply is audible, by the agent's spans. Pure.

Sound that carries no content is no answer: openings such as "um" or a bare "thank you," (`scenario.content`), a tone,
noise, whatever was sent before the first clause. Two sources say where content starts:

- **The agent's spans**: the text of each clause, and which samples of the reply are its own. The first word that is no
  opening names the clause that starts the content. Where that clause may hold more than its content ("um, the office
  is open"; a silence or a tone), its sound decides for the later time (`clause_onset`), and the turn is in doubt.
- **A transcript** of the recording, where the spans do not know or leave it in doubt (`heard_content`).

Where neither is at hand the substance gap is not known, which is no statement about the agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turngap.caller import onset, playout
from turngap.caller.clause_playout import PlayedClause, place_clauses
from turngap.caller.onset import Segment
from turngap.clock import NS_PER_SAMPLE
from turngap.model.records import CallRecord
from turngap.scenario.content import Openings
from turngap.scoring import clause_onset
from turngap.scoring.attempts import CallSpans, first_sent_ns
from turngap.scoring.milestones import Milestones
from turngap.scoring.outcomes import WORDLESS

SPANS, TRANSCRIPT = "spans", "transcript"


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
    text: str = ""
    """The clause that the spans say has the first content."""
    claimed_ns: int | None = None
    """When its sound starts; `at_ns` is later where the clause may hold more than its content."""

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
    return _from_clauses(playout.played_segments(record.received), clauses, t1_ns, openings, record.audible_dbfs)


def _from_clauses(
    segments: Sequence[Segment],
    clauses: Sequence[PlayedClause],
    t1_ns: int,
    openings: Openings,
    audible_dbfs: float,
) -> Substance:
    words = [(word, clause) for clause in clauses for word in clause.words]
    first = openings.count([word for word, _ in words])
    before = " ".join(word.text for word, _ in words[:first])
    if first == len(words) or (start_ns := words[first][1].start_ns) is None:
        return Substance(None, SPANS, before or WORDLESS)
    clause = words[first][1]
    claimed_ns = t1_ns if start_ns <= t1_ns else onset.find_onset(segments, start_ns, audible_dbfs)
    if claimed_ns is None:
        return Substance(None, SPANS, before or WORDLESS)
    opening = [word.text for word, of in words[:first] if of is clause]
    content = [word.text for word, of in words[first:] if of is clause]
    end_ns = clause.end_ns if clause.end_ns is not None else segments[-1].end_ns
    pcm = clause_onset.render(segments, claimed_ns, end_ns)
    found = clause_onset.find_clause_onset(
        pcm, opening, content, whole=clause.end_ns is not None, audible_dbfs=audible_dbfs
    )
    at_ns = claimed_ns + found.sample * NS_PER_SAMPLE
    starts_ns = clauses[0].start_ns
    if not before and (found.sample or (at_ns > t1_ns and starts_ns is not None and starts_ns > t1_ns)):
        before = WORDLESS
    heard_before = before if at_ns > t1_ns else ""
    if found.after_opening:
        claimed_ns = at_ns  # the pause belongs to the opening that the agent reports
    return Substance(at_ns, SPANS, heard_before, found.note, clause.text, claimed_ns)
