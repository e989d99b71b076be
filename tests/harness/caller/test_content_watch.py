"""A caller that waits for content: when it hangs up, and when it speaks again."""

from __future__ import annotations

import pytest
from turngap.clock import NS_PER_MS
from turngap_agent.tracing import Span

from tests.harness.caller.conversations import Call, sound

ANSWER = "It is room twelve."


def answered(spans: list[Span], *, probe: bool = True, turns: int = 1) -> Call:
    """A call whose caller has just finished its utterance; answers are due within 3 s."""
    call = Call(*({} for _ in range(turns)), probe=probe, spans=spans)
    call.lead(700)
    while call.now_ns < call.time_ns(call.last.end_sample) + 300 * NS_PER_MS:
        call.lead(20)
    return call


def heard_ms(call: Call) -> float:
    """How long after the last utterance the caller hung up."""
    assert call.over_ns is not None
    return (call.over_ns - call.time_ns(call.last.end_sample)) / NS_PER_MS


def test_content_by_the_agent_s_own_words_ends_the_call() -> None:
    """Once the first clause with content was played, and half a second was heard; not at the end of the reply."""
    spans: list[Span] = []
    call = answered(spans)
    call.hear(sound(5000))
    spans.append(call.clause(ANSWER, 900))
    call.lead(6000)
    assert heard_ms(call) == pytest.approx(300 + 900, abs=45)


def test_a_filler_does_not_end_the_call() -> None:
    """Neither its end nor a mark after it; the clause after it does, as soon as it was played."""
    spans: list[Span] = []
    call = answered(spans)
    call.hear(sound(440))
    spans.append(call.clause("Um,", 440))
    call.playout.add_mark("turn-0-1", call.now_ns)
    call.lead(1500)
    assert call.over_ns is None
    call.hear(sound(700))
    spans.append(call.clause(ANSWER, 700, first_ms=440))
    call.lead(3000)
    assert heard_ms(call) == pytest.approx(300 + 1500 + 700, abs=45)


def test_only_fillers_are_heard_to_the_deadline() -> None:
    """However long they are: the agent says itself that they are no content."""
    spans: list[Span] = []
    call = answered(spans)
    spans.append(call.clause("One moment please.", 2900))
    call.hear(sound(2900))
    call.lead(6000)
    assert heard_ms(call) == pytest.approx(3000, abs=45)


@pytest.mark.parametrize(
    ("ms", "marked", "hung_up_after_ms"),
    [(400, True, 3000), (400, False, 3000), (1300, True, 1300 + 300 + 600), (1300, False, 3000), (2700, False, 2800)],
)
def test_without_spans_the_length_of_the_sound_decides(ms: float, marked: bool, hung_up_after_ms: float) -> None:
    """2.5 s of it, or 1.2 s and a mark; after less the caller waits to the deadline."""
    call = answered([])
    call.hear(sound(ms))
    if marked:
        call.playout.add_mark("end", call.now_ns)
    call.lead(6000)
    assert heard_ms(call) == pytest.approx(hung_up_after_ms, abs=45)


def test_the_caller_does_not_speak_into_the_wait_for_content() -> None:
    """ "Um" and 2 s of silence: the next utterance comes after the content, not before it."""
    spans: list[Span] = []
    call = answered(spans, probe=False, turns=2)
    spans.append(call.clause("Um,", 300))
    call.hear(sound(300))
    call.lead(2000)
    assert len(call.talk.spoken) == 1
    spans.append(call.clause(ANSWER, 500, first_ms=300))
    content_ns = call.now_ns
    call.hear(sound(500))
    call.lead(3000)
    _, second = call.talk.spoken
    assert call.time_ns(second.start_sample) >= content_ns + (500 + 600) * NS_PER_MS


def test_a_call_goes_on_after_content_as_before() -> None:
    """A short reply with content costs no time: the caller speaks 600 ms after it."""
    spans: list[Span] = []
    call = answered(spans, probe=False, turns=2)
    spans.append(call.clause("Yes.", 300))
    call.hear(sound(300))
    start_ns = call.now_ns
    call.lead(2000)
    assert call.time_ns(call.last.start_sample) == pytest.approx(start_ns + 900 * NS_PER_MS, abs=45 * NS_PER_MS)


def test_a_clause_that_was_cleared_was_not_heard() -> None:
    """The agent took it back."""
    spans: list[Span] = []
    call = answered(spans)
    call.hear(sound(900))
    spans.append(call.clause(ANSWER, 900))
    call.lead(200)
    call.playout.clear(call.now_ns)
    call.lead(6000)
    assert heard_ms(call) == pytest.approx(3000, abs=45)


def test_a_call_without_a_watch_is_as_before() -> None:
    """Half a second after the first sound."""
    call = Call({}, probe=True)
    call.lead(700)
    while call.now_ns < call.time_ns(call.last.end_sample) + 300 * NS_PER_MS:
        call.lead(20)
    call.hear(sound(400))
    call.lead(6000)
    assert heard_ms(call) == pytest.approx(800, abs=45)
