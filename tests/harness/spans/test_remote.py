"""Our agent on another host: its spans come to our clock by the frames it read and the messages we received."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.model.turn import TurnRecord
from turngap.scoring.mapped import OwnSpans
from turngap.scoring.score import score_call
from turngap_agent import tracing
from turngap_agent.tracing import Span, Stage

from tests.harness import builders

TIMES = (tracing.PROVISIONAL_NS, tracing.CONFIRMED_NS, tracing.SENT_NS)


def on_another_host(spans: list[Span], offset_ns: int, boot: str = "another") -> list[Span]:
    """The spans as that host reports them: its monotonic clock is `offset_ns` ahead."""
    moved = []
    for span in spans:
        attributes = dict(span.attributes) | {tracing.BOOT_ID: boot}
        for key in TIMES:
            if isinstance(value := attributes.get(key), int):
                attributes[key] = value + offset_ns
        arrivals = attributes.get(tracing.ARRIVALS_NS)
        if isinstance(arrivals, tuple):
            attributes[tracing.ARRIVALS_NS] = tuple(at_ns + offset_ns for at_ns in arrivals)
        moved.append(
            replace(span, start_ns=span.start_ns + offset_ns, end_ns=span.end_ns + offset_ns, attributes=attributes)
        )
    return moved


def score(spans: list[Span]) -> TurnRecord:
    record = builders.example_call().ends(4_000)
    (turn,) = score_call(record, spans, builders.planned(), network_ms=95, cold=False)
    return turn


@settings(max_examples=30, deadline=None)
@given(offset_ns=st.integers(-(10**15), 10**15))
def test_its_stages_are_those_of_a_near_agent(offset_ns: int) -> None:
    """What happens on one host is exact; the two ways between the hosts are uncertain by what the messages leave."""
    spans = [*builders.attempt_spans(), builders.call_span()]
    near, far = score(spans), score(on_another_host(spans, offset_ns))
    assert near.stages is not None
    assert far.stages is not None
    within_ms = far.stages[Stage.TRANSPORT_OUT].uncertainty_ms
    assert 1 <= within_ms < 2.5  # frames are read 1 ms after they are due, messages received 1 ms after they are sent
    for stage, time in near.stages.items():
        crosses = stage in (Stage.TRANSPORT_IN, Stage.TRANSPORT_OUT, Stage.UNEXPLAINED)
        assert far.stages[stage].exposed_ms == pytest.approx(time.exposed_ms, abs=2 * within_ms if crosses else 1e-3)
    assert f"±{within_ms:.1f} ms" in far.stages_note


def test_what_was_received_had_been_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that are 2 ms too late, known to ±3 ms, let a reply leave after it came: they are moved."""
    spans = [*builders.attempt_spans(), builders.call_span()]
    exact, late = score(spans), on_another_host(spans, 2_000_000)
    within_ns = {(span.turn, span.attempt): 3_000_000 for span in late if span.name == tracing.TURN_SPAN}
    monkeypatch.setattr("turngap.scoring.score.align_own", lambda *_: OwnSpans(tuple(late), within_ns, ""))
    far = score(late)
    assert far.stages is not None
    assert exact.stages is not None
    for stage, time in far.stages.items():
        assert time.exposed_ms == pytest.approx(exact.stages[stage].exposed_ms, abs=time.uncertainty_ms + 1e-3)
    assert far.stages[Stage.FIRST_TOKEN].exposed_ms > 0


def test_a_near_agent_is_exact() -> None:
    """Nothing is aligned on one host, and nothing is uncertain."""
    turn = score([*builders.attempt_spans(), builders.call_span()])
    assert turn.stages is not None
    assert {time.uncertainty_ms for time in turn.stages.values()} == {0.0}
    assert turn.stages_note == ""


def test_times_that_contradict_are_said() -> None:
    """An agent that says it sent its reply after we received it, by more than any offset allows, has no stages."""
    spans = [*builders.attempt_spans(sent_ms=2004 + 500), builders.call_span()]
    turn = score(on_another_host(spans, 10**12))
    assert turn.stages is None
    assert "contradicts by" in turn.stages_note


def test_an_agent_that_reports_no_arrivals_is_not_aligned() -> None:
    """Without what it read nothing bounds its clock from above."""
    spans = on_another_host([*builders.attempt_spans(), builders.call_span()], 10**12)
    bare = [
        replace(span, attributes={k: v for k, v in span.attributes.items() if k != tracing.ARRIVALS_NS})
        for span in spans
    ]
    turn = score(bare)
    assert turn.stages is None
    assert "nothing bounds the offset" in turn.stages_note
