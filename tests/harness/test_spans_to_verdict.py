"""Spans from the exporter to the validity list: late, double, foreign or absent, each is stated and none is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from turngap.model.result import Check, Verdict
from turngap.model.turn import Outcome, TurnRecord
from turngap.processes.span_receiver import SpanReceiver
from turngap.scoring.attempts import NO_SPANS
from turngap.session import plan, run_record, scoring_process
from turngap.session.run_record import Progress
from turngap.session.scoring_process import ScoringJob
from turngap.store.folder import RunFolder
from turngap.verdict import gate
from turngap_agent import tracing
from turngap_agent.tracing import Span

from tests.harness import report_builders
from tests.harness.builders import CALL_SID, attempt_spans, call_span, example_call, planned
from tests.harness.processes.test_span_receiver import otel_span, send
from tests.harness.tones import scenario_of_tones

WHOLE = (call_span(), *attempt_spans())
Batch = Sequence[tuple[Span, str]]
"""Spans, and the call they say they are of."""
OURS: Batch = [(span, CALL_SID) for span in WHOLE]
OTHER: Batch = [(span, "CA-another") for span in WHOLE]


@dataclass(frozen=True)
class Found:
    """The call's one turn as scored, and the validity check of its spans."""

    turn: TurnRecord
    spans: Check
    verdict: Verdict
    remarks: tuple[str, ...]


@pytest.fixture
def measure_run(tmp_path: Path) -> Callable[..., Found]:
    """Sends batches to a real receiver before and after the call is collected, and takes the call to its verdict."""

    def measure(*before: Batch, after: Batch = ()) -> Found:
        request = plan.plan_run(str(scenario_of_tones(tmp_path, 1)), profile="scripted")
        folder = RunFolder.create(tmp_path / "results", "run", report_builders.run_record([]))

        async def receive() -> Found:
            receiver = await SpanReceiver.start(tmp_path / "spans.jsonl")
            try:
                for batch in before:
                    await asyncio.to_thread(export, receiver, batch)
                sent = {(span.name, call_sid) for batch in before for span, call_sid in batch}
                async with asyncio.timeout(10):
                    while sum(map(len, receiver._calls.values())) < len(sent):  # noqa: ASYNC110  # another process
                        await asyncio.sleep(0.01)
                collected = await receiver.collect(CALL_SID, 0.0)
                await asyncio.to_thread(export, receiver, after)
            finally:
                await receiver.stop()
            job = ScoringJob(folder.path, example_call().ends(4000), collected, planned(), 95.0, cold=False)
            progress = Progress()
            progress.add(scoring_process.score_and_save(job))
            (turn,) = progress.turns
            judged = gate.judge_run(progress.turns, run_record.collect_evidence(request, folder, progress))
            (spans,) = (check for check in judged.checks if check.name == "spans")
            return Found(turn, spans, judged.verdict, receiver.unused_span_notes())

        return asyncio.run(receive())

    return measure


def export(receiver: SpanReceiver, batch: Batch) -> None:
    """As an agent sends them."""
    made = []
    for span, call_sid in batch:
        times = {tracing.START_NS: span.start_ns, tracing.END_NS: span.end_ns}
        made.append(otel_span(span.name, call_sid, span.turn, span.attempt, **times, **dict(span.attributes)))
    if made:
        send(receiver.endpoint, made)


def test_whole_spans_give_stages_and_no_remark(measure_run: Callable[..., Found]) -> None:
    """The case that the others depart from."""
    result = measure_run(OURS)
    assert (result.turn.outcome, result.turn.stages_note) == (Outcome.ANSWERED, "")
    assert result.turn.stages
    assert (result.spans.ok, result.spans.text) == (True, "every answered turn has its stages")
    assert result.remarks == ()


def test_late_spans_are_stated_and_not_used(measure_run: Callable[..., Found]) -> None:
    """The turn keeps its gap without stages; the validity list counts it, the notes say that its spans came later."""
    result = measure_run(after=OURS)
    assert result.turn.turn_gap_ms is not None
    assert (result.turn.stages, result.turn.stages_note) == (None, NO_SPANS)
    assert (result.spans.ok, result.spans.text) == (None, "1 answered turns have incomplete stages")
    assert result.verdict is Verdict.MEASURED
    assert result.remarks == (f"spans: {len(WHOLE)} arrived after their call had been scored",)


def test_repeated_spans_count_once(measure_run: Callable[..., Found]) -> None:
    """A span sent again under an id of its own is recognised by its content."""
    once, twice = measure_run(OURS), measure_run([*OURS, *OURS])
    assert twice.turn.stages == once.turn.stages
    assert twice.spans.ok


def test_spans_of_another_call_are_stated_and_not_used(measure_run: Callable[..., Found]) -> None:
    """They give this call no stages, and the notes count them."""
    result = measure_run(OTHER)
    assert result.turn.stages is None
    assert result.spans.text == "1 answered turns have incomplete stages"
    assert result.remarks == (f"spans: {len(WHOLE)} were of calls that are not this run's",)


def test_no_spans_at_all(measure_run: Callable[..., Found]) -> None:
    """An agent of ours that sends none is measured from its audio, and the validity list says so."""
    result = measure_run()
    assert result.turn.outcome is Outcome.ANSWERED
    assert result.turn.stages_note == NO_SPANS
    assert result.spans.text == "1 answered turns have incomplete stages"


def test_a_span_that_was_lost(measure_run: Callable[..., Found]) -> None:
    """One of a turn's own is missing: no stages rather than wrong ones."""
    result = measure_run([pair for pair in OURS if pair[0].stage is not tracing.Stage.TRANSCRIPTION])
    assert result.turn.stages is None
    assert "spans of turn 0, attempt 0 arrived" in result.turn.stages_note
    assert result.spans.ok is None
