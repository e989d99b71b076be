"""Whether the caller has heard content during a call: from the agent's clause spans, or by the length of its sound.

At run time there is no recogniser. An agent that reports its clauses is believed: content was heard once the first
clause with content was played to its end. Of other agents only the sound is known: 2.5 s of it count as content, and
so do 1.2 s if a mark says that the reply is whole. Whether that was true is found after the call (`scoring.substance`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from turngap_agent import tracing
from turngap_agent.tracing import Span

from turngap.caller.clause_playout import place_clauses
from turngap.caller.playout import Playout
from turngap.clock import NS_PER_MS
from turngap.scenario.content import make_openings

LONG_REPLY_NS = 2_500 * NS_PER_MS
"""So much audible sound is taken for content."""
WHOLE_REPLY_NS = 1_200 * NS_PER_MS
"""... and so much, where a mark says that the reply has ended."""


class ContentWatch:
    """What is known of the content of one call's replies while the call lasts."""

    def __init__(
        self, playout: Playout, contentless: tuple[str, ...], spans: Callable[[], Sequence[Span]] | None = None
    ) -> None:
        """`spans` returns the call's spans that have arrived so far."""
        self._playout = playout
        self._openings = make_openings(contentless)
        self._spans = spans or (lambda: ())
        self._examined = (0, 0)
        self._from_ns = 0
        self._has_clauses = False
        self._heard_ns: int | None = None

    def is_heard(self, speech_ns: int, now_ns: int, *, audible_ns: int, ended: bool) -> bool:
        """Return whether the reply to the utterance that started at `speech_ns` has had content by now.

        `audible_ns` is for how long it was audible; `ended`: it was marked as whole, and silence followed.
        """
        self._examine(speech_ns)
        if self._has_clauses:
            return self._heard_ns is not None and self._heard_ns <= now_ns
        return audible_ns >= LONG_REPLY_NS or (ended and audible_ns >= WHOLE_REPLY_NS)

    def _examine(self, speech_ns: int) -> None:
        """Look for the first clause with content, if spans or audio have arrived since the last look."""
        spans = self._spans()
        state = (len(spans), self._playout.received_count)
        if state == self._examined and speech_ns == self._from_ns:
            return
        self._examined, self._from_ns = state, speech_ns
        own = [span for span in spans if span.name == tracing.CLAUSE_SPAN and span.start_ns >= speech_ns]
        self._has_clauses, self._heard_ns = bool(own), None
        if not own:
            return
        clauses = place_clauses(own, self._playout.received)
        words = [(word, clause) for clause in clauses for word in clause.words]
        first = self._openings.count([word for word, _ in words])
        if first < len(words):
            self._heard_ns = words[first][1].end_ns
