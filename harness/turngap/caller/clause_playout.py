"""When each clause of the agent's replies is played to the caller, from its clause spans and what was received. Pure.

An attempt's audio is counted from its first message: sample k of what it sent is sample k of what arrived since. What
was sent before its first clause belongs to no clause. An agent that paused sends again what was cut, so of cut messages
only what was played counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from turngap_agent import tracing
from turngap_agent.tracing import Span

from turngap.clock import NS_PER_SAMPLE
from turngap.model.records import Received
from turngap.scenario.content import Word, split_words


@dataclass(frozen=True, slots=True)
class PlayedClause:
    """One clause as the caller heard it; ns on the host's monotonic clock."""

    turn: int
    attempt: int
    """The agent's own numbers of the attempt."""
    sent_ns: int
    """When its first message was handed to the socket."""
    text: str
    start_ns: int | None
    """When its first sample is played; None if it never is: not received, or cut by a `clear` or a hang-up."""
    end_ns: int | None
    """When its last sample has been played; None if that never is."""

    @property
    def words(self) -> list[Word]:
        """Its words."""
        return split_words(self.text)


def place_clauses(spans: Iterable[Span], received: Sequence[Received]) -> tuple[PlayedClause, ...]:
    """Return the clauses of which something was sent, in the order in which they were sent."""
    turns: dict[tuple[int, int], Span] = {}
    clauses: list[Span] = []
    for span in spans:
        if span.name == tracing.TURN_SPAN:
            turns[span.turn, span.attempt] = span
        elif span.name == tracing.CLAUSE_SPAN and _samples(span) is not None:
            clauses.append(span)
    clauses.sort(key=lambda span: (span.start_ns, span.attributes[tracing.CLAUSE_FIRST_SAMPLE]))
    return tuple(_place(span, turns.get((span.turn, span.attempt)), received) for span in clauses)


def _place(span: Span, turn_span: Span | None, received: Sequence[Received]) -> PlayedClause:
    samples = _samples(span)
    assert samples is not None
    first, count = samples
    sent_ns = None if turn_span is None else turn_span.attributes.get(tracing.SENT_NS)
    paused = turn_span is not None and tracing.PAUSED_NS in turn_span.attributes
    # While the call lasts the turn span has not come: then the clause's own first message is the anchor.
    anchor_ns, anchor = (sent_ns, 0) if isinstance(sent_ns, int) else (span.start_ns, first)
    return PlayedClause(
        turn=span.turn,
        attempt=span.attempt,
        sent_ns=span.start_ns,
        text=str(span.attributes.get(tracing.CLAUSE_TEXT, "")),
        start_ns=_play_ns(received, anchor_ns, first - anchor, paused=paused),
        end_ns=_play_ns(received, anchor_ns, first - anchor + count - 1, paused=paused, after=1),
    )


def _play_ns(received: Sequence[Received], from_ns: int, sample: int, *, paused: bool, after: int = 0) -> int | None:
    """Return when sample number `sample` of the audio received since `from_ns` is played (`after` samples later)."""
    for message in received:
        if message.recv_ns < from_ns:
            continue
        if sample < message.played_samples:
            return message.play_ns + (sample + after) * NS_PER_SAMPLE
        if sample < len(message.pcm) and not paused:
            return None
        sample -= message.played_samples if paused else len(message.pcm)
    return None


def _samples(span: Span) -> tuple[int, int] | None:
    first, count = (span.attributes.get(name) for name in (tracing.CLAUSE_FIRST_SAMPLE, tracing.CLAUSE_SAMPLES))
    return (first, count) if isinstance(first, int) and isinstance(count, int) and first >= 0 < count else None
