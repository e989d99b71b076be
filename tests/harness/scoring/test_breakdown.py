"""What a turn cost: the work of the attempt that was heard, and that of attempts nobody heard."""

from __future__ import annotations

from turngap.scoring.breakdown import EngineWork, measure_work
from turngap.scoring.score import score_call
from turngap_agent.tracing import Span

from tests.harness.builders import attempt_spans, call_span, example_call, planned


def turn_span(compute_ms: float | None, *, heard: bool) -> Span:
    return attempt_spans(heard=heard, compute_ms=compute_ms, sent_ms=2004 if heard else None)[0]


def test_attempts_that_nobody_heard_are_waste() -> None:
    """Their work is added up; that of the heard one is listed by itself."""
    own = turn_span(120.0, heard=True)
    assert measure_work([turn_span(30, heard=False), turn_span(12.5, heard=False), own], own) == EngineWork(120.0, 42.5)
    assert measure_work([own], own) == EngineWork(120.0, 0.0)


def test_an_attempt_that_was_heard_and_stopped_was_not_wasted() -> None:
    """Part of it was heard: a barge-in wastes a rest, not an attempt."""
    own, other = turn_span(120.0, heard=True), turn_span(80.0, heard=True)
    assert measure_work([other, own], own) == EngineWork(120.0, 0.0)


def test_unreported_compute_is_unknown() -> None:
    """No figure where spans may be lost, or where an attempt does not say what it cost."""
    own = turn_span(120.0, heard=True)
    assert measure_work(None, own) == EngineWork(120.0, None)
    assert measure_work([turn_span(None, heard=False), own], own) == EngineWork(120.0, None)
    silent = turn_span(None, heard=True)
    assert measure_work([silent], silent) == EngineWork(None, None)


def test_a_turn_without_an_answer_may_have_wasted_work() -> None:
    """Speculation on noise is all waste."""
    assert measure_work([turn_span(30, heard=False)], None) == EngineWork(None, 30.0)
    assert measure_work([], None) == EngineWork(None, 0.0)


def test_wasted_work_is_in_the_record() -> None:
    """Scoring reads it from the spans of the call."""
    spans = (
        call_span(2),
        *attempt_spans(compute_ms=31.5, heard=False, sent_ms=None, provisional_ms=1000),
        *attempt_spans(attempt=1, compute_ms=120.25),
    )
    (turn,) = score_call(example_call().ends(4000), spans, planned(), network_ms=95, cold=False)
    assert (turn.attempts, turn.compute_ms, turn.wasted_ms) == (2, 120.25, 31.5)
