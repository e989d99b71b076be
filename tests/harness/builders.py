"""Builders of calls and spans for the tests of scoring: times in ms from the stream's first sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from turngap.caller.playout import Playout
from turngap.clock import NS_PER_MS
from turngap.model.records import CallEnd, CallRecord, Clip, Pcm16, Spoken
from turngap.scenario import PlannedCall, Turn
from turngap_agent import tracing
from turngap_agent.tracing import Span, Stage

START_NS = 5_000_000_000_003
"""When the stream of every call begins; on no grid on purpose."""
CALL_SID = "CA1"
WORDS = "please call me back tomorrow"


def ns(ms: float) -> int:
    """A time in ms from the stream's start as ns on the monotonic clock."""
    return START_NS + round(ms * NS_PER_MS)


def tone(ms: float, amplitude: int = 8000) -> Pcm16:
    """A loud 500 Hz tone, shape (ms * 8,)."""
    return np.round(amplitude * np.sin(np.arange(round(ms * 8)) * np.pi / 8 + 0.5)).astype(np.int16)


def speech(ms: float, seed: int = 1) -> Pcm16:
    """Loud noise without a gap, no two pieces of it alike, shape (ms * 8,)."""
    return np.random.default_rng(seed).integers(-9000, 9000, round(ms * 8)).astype(np.int16)


def quiet(ms: float) -> Pcm16:
    """Digital silence, shape (ms * 8,)."""
    return np.zeros(round(ms * 8), np.int16)


class Call:
    """A call record built piece by piece; by default frames leave on their deadlines."""

    def __init__(self) -> None:
        self._playout = Playout()
        self._spoken: list[Spoken] = []
        self._late_ns: dict[int, int] = {}
        self._stalls: list[tuple[int, int]] = []

    def utter(
        self,
        start_ms: float,
        end_ms: float,
        words: str | None = WORDS,
        answer_within_ms: float = 6000,
        pauses_ms: Sequence[tuple[float, float]] = (),
        *,
        over: bool = False,
    ) -> Call:
        """The caller speaks, `over` the agent; t0 is `end_ms`, and `pauses_ms` are in the stream's time."""
        start, end = round(start_ms * 8), round(end_ms * 8)
        clip = Clip(f"clip{len(self._spoken)}", tone((end - start) / 8), 0, words, -3.0, 4.0, "made", synthetic=True)
        pauses = tuple((round(first * 8) - start, round(beyond * 8) - start) for first, beyond in pauses_ms)
        clip = replace(clip, pauses=pauses)
        self._spoken.append(Spoken(clip.clip_id, clip, start, end, ns(end_ms + answer_within_ms), over_agent=over))
        return self

    def hear(self, at_ms: float, *pcm: Pcm16) -> Call:
        """One message arrives from the agent."""
        self._playout.receive(np.concatenate(pcm), ns(at_ms))
        return self

    def hear_paced(self, at_ms: float, pcm: Pcm16, lead_ms: float = 0) -> Call:
        """Messages of 20 ms arrive 20 ms apart, each `lead_ms` before it would be played."""
        for index in range(0, len(pcm), 160):
            self.hear(at_ms + (0 if index == 0 else index / 8 - lead_ms), pcm[index : index + 160])
        return self

    def clear(self, at_ms: float) -> Call:
        """The agent empties the caller's buffer."""
        self._playout.clear(ns(at_ms))
        return self

    def mark(self, at_ms: float) -> Call:
        """The agent marks what it has sent so far."""
        self._playout.add_mark("end", ns(at_ms))
        return self

    def late(self, frame: int, ms: float) -> Call:
        """One of our frames leaves late."""
        self._late_ns[frame] = round(ms * NS_PER_MS)
        return self

    def stall(self, back_at_ms: float, away_ms: float) -> Call:
        """Our event loop was away for `away_ms` and came back."""
        self._stalls.append((ns(back_at_ms), round(away_ms * NS_PER_MS)))
        return self

    def ends(
        self, at_ms: float, end: CallEnd = CallEnd.COMPLETED, detail: str = "", *, warm_up: bool = False
    ) -> CallRecord:
        """End the call at `at_ms` and return its record."""
        self._playout.truncate(ns(at_ms))
        frames = int(at_ms // 20)
        sent = [ns((frame + 1) * 20) + self._late_ns.get(frame, 0) for frame in range(frames)]
        return CallRecord(
            index=0,
            call_sid=CALL_SID,
            stream_sid="MZ1",
            started_ns=START_NS,
            sent_ns=np.array(sent, np.int64),
            caller_pcm=np.zeros(frames * 160, np.int16),
            spoken=tuple(self._spoken),
            received=self._playout.received,
            marks=self._playout.marks,
            clears_ns=self._playout.clears_ns,
            stalls=np.array(self._stalls, np.int64).reshape(-1, 2),
            ended_ns=ns(at_ms),
            end=end,
            detail=detail,
            warm_up=warm_up,
        )


def planned_as(*agents: str, **overrides: object) -> PlannedCall:
    """Return a planned call of one turn for each expectation."""
    planned_turns = []
    for index, agent in enumerate(agents):
        voice: dict[str, object] = {"silence_ms": 1000} if agent == "wait" else {"say": WORDS}
        over = {"over_agent_ms": 500} if agent in ("stop", "ignore") else {}
        planned_turns.append(Turn.model_validate({"id": f"t{index}", "agent": agent, **voice, **over, **overrides}))
    return PlannedCall(index=0, turns=tuple(planned_turns), probe=False)


def planned(turns: int = 1, **overrides: object) -> PlannedCall:
    """Return a planned call of `turns` turns."""
    planned_turns = [Turn.model_validate({"id": f"t{index}", "say": WORDS, **overrides}) for index in range(turns)]
    return PlannedCall(index=0, turns=tuple(planned_turns), probe=False)


def example_call() -> Call:
    """One utterance with t0 at 1,610 ms (the middle of frame 80), answered: received at 2,005, audible at 2,025."""
    return Call().utter(600, 1610).hear(2005, quiet(20), tone(500))


EXAMPLE_STAGES: dict[Stage, tuple[float, float]] = {
    Stage.ENDPOINTING: (1621, 1931),
    Stage.TRANSCRIPTION: (1686, 1746),
    Stage.FIRST_TOKEN: (1747, 1847),
    Stage.FIRST_CLAUSE: (1847, 1897),
    Stage.FIRST_AUDIO: (1898, 1998),
    Stage.ENCODING: (1998, 2003),
}


def attempt_spans(
    *,
    turn: int = 0,
    attempt: int = 0,
    provisional_ms: float | None = 1685,
    confirmed_ms: float | None = 1931,
    sent_ms: float | None = 2004,
    stages: dict[Stage, tuple[float, float]] = EXAMPLE_STAGES,
    heard: bool = True,
    interrupted: bool = False,
    transcript: str | None = WORDS,
    first_chunk: int = 1,
    arrivals_late_ms: float = 1,
    shift_ms: float = 0,
    compute_ms: float | None = None,
) -> list[Span]:
    """An attempt's spans, the turn span first; every frame arrives `arrivals_late_ms` after its deadline.

    As the agent reports it: an unheard attempt was cancelled; one heard and `interrupted` has the words heard of it.
    """
    attributes: dict[str, tracing.AttributeValue] = {
        tracing.HEARD: heard,
        tracing.CANCELLED: not heard,
        tracing.REPLY: "Of course. Goodbye." if heard else "",
        tracing.FIRST_CLAUSE_TEXT: "Of course.",
        tracing.ARRIVAL_FIRST_CHUNK: first_chunk,
        tracing.ARRIVALS_NS: tuple(ns(chunk * 20 + arrivals_late_ms) for chunk in range(first_chunk, 401)),
        tracing.SPANS: 1 + len(stages),
    }
    if interrupted:
        attributes[tracing.HEARD_TEXT] = "Of course."
    if compute_ms is not None:
        attributes[tracing.COMPUTE_MS] = compute_ms
    if transcript is not None:
        attributes[tracing.TRANSCRIPT] = transcript
    for name, ms in (
        (tracing.PROVISIONAL_NS, provisional_ms),
        (tracing.CONFIRMED_NS, confirmed_ms),
        (tracing.SENT_NS, sent_ms),
    ):
        if ms is not None:
            attributes[name] = ns(ms + shift_ms)
    turn_span = Span(tracing.TURN_SPAN, ns(700 + shift_ms), ns(2600 + shift_ms), CALL_SID, turn, attempt, attributes)
    return [turn_span] + [
        Span(tracing.SPAN_PREFIX + stage.value, ns(start + shift_ms), ns(end + shift_ms), CALL_SID, turn, attempt)
        for stage, (start, end) in stages.items()
    ]


def clause_spans(
    *clauses: tuple[str, float], sent_ms: float = 2004, first_ms: float = 0, turn: int = 0, attempt: int = 0
) -> list[Span]:
    """The spans of an attempt's clauses, (text, length of its audio in ms); `first_ms` of audio are before them."""
    spans, at = [], round(first_ms * 8)
    for text, ms in clauses:
        attributes: dict[str, tracing.AttributeValue] = {
            tracing.CLAUSE_TEXT: text,
            tracing.CLAUSE_FIRST_SAMPLE: at,
            tracing.CLAUSE_SAMPLES: round(ms * 8),
        }
        from_ns = ns(sent_ms + (0 if at == 0 else 1))
        spans.append(Span(tracing.CLAUSE_SPAN, from_ns, from_ns, CALL_SID, turn, attempt, attributes))
        at += round(ms * 8)
    return spans


def with_clauses(spans: Sequence[Span], *clauses: tuple[str, float], first_ms: float = 0) -> tuple[Span, ...]:
    """Return an attempt's spans, the turn span first, with those of its clauses, which its count includes."""
    turn, *rest = spans
    sent_ns = turn.attributes[tracing.SENT_NS]
    assert isinstance(sent_ns, int)
    sent_ms = (sent_ns - START_NS) / NS_PER_MS
    own = clause_spans(*clauses, sent_ms=sent_ms, first_ms=first_ms, turn=turn.turn, attempt=turn.attempt)
    count = {tracing.SPANS: len(spans) + len(own)}
    return (replace(turn, attributes={**turn.attributes, **count}), *rest, *own)


def call_span(attempts: int = 1) -> Span:
    """The span of the whole call."""
    return Span(tracing.CALL_SPAN, ns(-5), ns(4000), CALL_SID, -1, -1, {tracing.ATTEMPTS: attempts})
