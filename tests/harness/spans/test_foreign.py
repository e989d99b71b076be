"""What real spans of other frameworks say about a turn; recorded with their libraries, see `recorded_with`."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from turngap.clock import to_ms
from turngap.model.turn import Outcome
from turngap.scoring.mapped import MappedCall
from turngap.scoring.score import score_call
from turngap.spans.foreign import ForeignSpan, TurnSpans, read_turn, select_call_spans
from turngap.spans.mapping import load_mapping
from turngap_agent.tracing import Activity, Stage

from tests.harness import builders

PIPECAT = load_mapping("pipecat")
RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "pipecat-1.14.0.json").read_text("utf-8"))
CALLS = {call["utterance"].partition("/")[0]: call for call in RECORDED["calls"]}


def spans_of(call: dict[str, Any]) -> tuple[ForeignSpan, ...]:
    return tuple(
        ForeignSpan(row["name"], call["trace_id"], row["start_ns"], row["end_ns"], row["attributes"], {})
        for row in call["spans"]
    )


def read(call: dict[str, Any], spans: tuple[ForeignSpan, ...] | None = None) -> TurnSpans:
    return read_turn(
        spans_of(call) if spans is None else spans,
        PIPECAT,
        speech_ns=10**9,
        heard_from_ns=call["frame_sent_ns"],
        received_ns=call["received_ns"],
    )


def lasted_ms(turn: TurnSpans, activity: Activity) -> float:
    begin_ns, end_ns = turn.intervals[activity]
    return to_ms(end_ns - begin_ns)


@pytest.mark.parametrize("name", CALLS)
def test_the_stages_of_pipecat_follow_one_another(name: str) -> None:
    """From the transcript to the caller's first message without a hole, each after what it waited for."""
    turn = read(CALLS[name])
    assert turn.note == ""
    order = (Activity.FIRST_TOKEN, Activity.FIRST_CLAUSE, Activity.FIRST_AUDIO, Activity.ENCODING)
    for earlier, later in itertools.pairwise(order):
        assert turn.intervals[earlier][1] == turn.intervals[later][0]
    assert turn.intervals[Activity.ENCODING][1] == CALLS[name]["received_ns"]
    assert turn.intervals[Activity.PROVISIONAL_END][1] == turn.intervals[Activity.TRANSCRIPTION][0]
    assert turn.intervals[Activity.TRANSCRIPTION][1] <= turn.intervals[Activity.FIRST_TOKEN][0]


def test_a_time_to_first_byte_is_the_first_token() -> None:
    """`metrics.ttfb` of the `llm` span, in seconds, from its start on."""
    llm = [row for row in CALLS["number"]["spans"] if row["name"] == "llm"]
    assert len(llm) == 1
    expected_ms = llm[0]["attributes"]["metrics.ttfb"] * 1000
    assert lasted_ms(read(CALLS["number"]), Activity.FIRST_TOKEN) == pytest.approx(expected_ms, abs=1e-3)


def test_a_request_that_waited_for_the_turn_shows_it() -> None:
    """Smart Turn held "Number" to be unfinished for 3 s after its transcript: that is endpointing."""
    turn = read(CALLS["number"])
    confirmed_ns = turn.intervals[Activity.CONFIRMED_END][1]
    assert to_ms(confirmed_ns - turn.intervals[Activity.TRANSCRIPTION][1]) > 2_000
    assert confirmed_ns == turn.intervals[Activity.FIRST_TOKEN][0]


def test_a_request_that_waited_for_the_transcript_is_none_of_endpointings() -> None:
    """It left 5 ms after the transcript: only the detector's end of speech is endpointing's."""
    turn = read(CALLS["digits"])
    assert Activity.CONFIRMED_END not in turn.intervals
    assert lasted_ms(turn, Activity.PROVISIONAL_END) == pytest.approx(249, abs=2)


def test_the_transcript_of_a_turn_in_two_segments_is_both() -> None:
    """The detector ended the first segment in a pause; what was requested had both."""
    assert read(CALLS["digits"]).transcript == "Saturday. September 14th."
    assert read(CALLS["digits"]).reply == "Thank you, I am glad to have you."


def test_a_reply_that_was_never_heard_is_left_out() -> None:
    """In that pause a first reply was begun and interrupted: the heard one's request is the second."""
    requests = [row for row in CALLS["digits"]["spans"] if row["name"] == "llm"]
    assert len(requests) == 2
    assert read(CALLS["digits"]).intervals[Activity.FIRST_TOKEN][0] == requests[1]["start_ns"]


def test_a_missing_attribute_is_said(tmp_path: Path) -> None:
    """Without metrics there is no time to first byte: those stages are unknown, the others are not."""
    spans = tuple(
        replace(span, attributes={key: value for key, value in span.attributes.items() if key != "metrics.ttfb"})
        if span.name == "tts"
        else span
        for span in spans_of(CALLS["phonetic"])
    )
    turn = read(CALLS["phonetic"], spans)
    assert "'tts' has no 'metrics.ttfb', so first_audio is not known" in turn.note
    assert Activity.FIRST_AUDIO not in turn.intervals
    assert Activity.FIRST_TOKEN in turn.intervals


def test_a_turn_without_spans_is_said() -> None:
    """Only those of an earlier turn, or none at all."""
    assert read(CALLS["number"], ()).note.startswith("pipecat spans: no 'tts' in this turn")
    assert read(CALLS["number"], ()).intervals == {}


def record_of(call: dict[str, Any], call_sid: str | None = None) -> Any:
    """A call record over the time of a recorded call."""
    last_ns = max(row["end_ns"] for row in call["spans"])
    record = builders.Call().utter(600, 1610).ends(4_000)
    return replace(record, call_sid=call_sid or call["call_sid"], started_ns=10**9, ended_ns=last_ns)


def test_spans_are_a_calls_by_its_id() -> None:
    """Two calls at the same time: those of the trace that names the call, whatever their times."""
    spans = (*spans_of(CALLS["number"]), *spans_of(CALLS["digits"]))
    own = select_call_spans(record_of(CALLS["digits"]), spans, PIPECAT)
    assert {span.trace_id for span in own} == {CALLS["digits"]["trace_id"]}
    assert not select_call_spans(record_of(CALLS["digits"], "CA-other"), spans, PIPECAT)


def test_spans_without_an_id_are_a_calls_by_its_time() -> None:
    """Those inside it, and none that ended long before it."""
    anonymous = tuple(replace(span, attributes={}) for span in spans_of(CALLS["number"]))
    earlier = tuple(
        replace(span, trace_id="earlier", start_ns=span.start_ns - 10**11, end_ns=span.end_ns - 10**11)
        for span in anonymous
    )
    own = select_call_spans(record_of(CALLS["number"]), (*anonymous, *earlier), PIPECAT)
    assert {span.trace_id for span in own} == {CALLS["number"]["trace_id"]}


def example_spans(shift_ms: float = 0.0) -> tuple[ForeignSpan, ...]:
    """Spans of pipecat for the call in `builders.example_call`; its detector ends the speech at 1,810."""

    def span(name: str, start_ms: float, end_ms: float, **attributes: object) -> ForeignSpan:
        start_ns, end_ns = builders.ns(start_ms + shift_ms), builders.ns(end_ms + shift_ms)
        return ForeignSpan(name, "trace", start_ns, end_ns, attributes, {})

    return (
        span("conversation", 0, 4_001, call_sid=builders.CALL_SID),
        span("stt", 600, 1_860, **{"metrics.ttfb": 0.25, "transcript": builders.WORDS}),
        span("llm", 1_862, 1_980, **{"metrics.ttfb": 0.06, "output": "Of course."}),
        span("tts", 1_950, 2_400, **{"metrics.ttfb": 0.05}),
    )


def test_the_stages_of_a_scored_turn_add_up_to_its_gap() -> None:
    """Exposed times on the caller's clock, with what no span explains; words and reply are the agent's own."""
    mapped = MappedCall(PIPECAT, example_spans(), same_host=True)
    (turn,) = score_call(
        builders.example_call().ends(4_000), (), builders.planned(), network_ms=95, cold=False, mapped=mapped
    )
    assert turn.outcome is Outcome.ANSWERED
    assert turn.stages is not None
    assert sum(stage.exposed_ms for stage in turn.stages.values()) == pytest.approx(turn.turn_gap_ms)
    expected = {
        Stage.FRAMING_IN: 10,
        Stage.ENDPOINTING: 190,
        Stage.TRANSCRIPTION: 50,
        Stage.FIRST_TOKEN: 60,
        Stage.FIRST_CLAUSE: 28,
        Stage.FIRST_AUDIO: 50,
        Stage.ENCODING: 5,
        Stage.LEAD_IN: 20,
        Stage.UNEXPLAINED: 2,
    }
    assert {stage: time.exposed_ms for stage, time in turn.stages.items()} == pytest.approx(expected)
    assert turn.wer == 0
    assert turn.reply == "Of course."
    assert turn.stages_note == ""


@pytest.mark.parametrize("shift_ms", [0.0, -3_600_000.0, 12_345.6])
def test_an_agent_on_another_host_is_aligned(shift_ms: float) -> None:
    """Whatever its clock shows, its stages come out the same, ± what the messages leave open, and that is stated."""
    mapped = MappedCall(PIPECAT, example_spans(shift_ms), same_host=False)
    (turn,) = score_call(
        builders.example_call().ends(4_000), (), builders.planned(), network_ms=95, cold=False, mapped=mapped
    )
    assert turn.stages is not None
    within_ms = turn.stages[Stage.ENDPOINTING].uncertainty_ms
    assert 3 <= within_ms <= 6  # 5 ms to the first message, 1 ms after the hang-up, and the drift over 2 s
    assert f"±{within_ms:.1f} ms" in turn.stages_note
    assert turn.stages[Stage.ENDPOINTING].exposed_ms == pytest.approx(190, abs=within_ms)
    assert turn.stages[Stage.FIRST_TOKEN].exposed_ms == pytest.approx(60)
    assert turn.stages[Stage.FIRST_TOKEN].uncertainty_ms == 0
    assert sum(stage.exposed_ms for stage in turn.stages.values()) == pytest.approx(turn.turn_gap_ms)


def test_an_agent_whose_clock_nothing_bounds_has_no_stages() -> None:
    """Its call did not end with our hang-up, so its clock may show anything."""
    spans = tuple(span for span in example_spans() if span.name != "conversation")
    mapped = MappedCall(PIPECAT, spans, same_host=False)
    (turn,) = score_call(
        builders.example_call().ends(4_000), (), builders.planned(), network_ms=95, cold=False, mapped=mapped
    )
    assert turn.stages is None
    assert turn.stages_note == "nothing bounds the offset to the agent's clock"


LIVEKIT: dict[str, Any] = json.loads((Path(__file__).parent / "livekit-1.8.9.json").read_text("utf-8"))


@pytest.mark.parametrize("call", LIVEKIT["calls"], ids=lambda call: call["utterance"])
def test_the_stages_of_livekit_follow_one_another(call: dict[str, Any]) -> None:
    """From the detector's end of speech to the caller's first message; words and reply are in spans of their own."""
    turn = read_turn(
        spans_of(call),
        load_mapping("livekit"),
        speech_ns=10**9,
        heard_from_ns=call["frame_sent_ns"],
        received_ns=call["received_ns"],
    )
    assert turn.note == ""
    order = (
        Activity.PROVISIONAL_END,
        Activity.TRANSCRIPTION,
        Activity.FIRST_TOKEN,
        Activity.FIRST_CLAUSE,
        Activity.FIRST_AUDIO,
        Activity.ENCODING,
    )
    for earlier, later in itertools.pairwise(order):
        assert turn.intervals[earlier][1] == turn.intervals[later][0]
    assert turn.intervals[Activity.ENCODING][1] == call["received_ns"]
    # It began to generate before the end of the turn was decided, or just after.
    assert to_ms(turn.intervals[Activity.CONFIRMED_END][1] - turn.intervals[Activity.FIRST_TOKEN][0]) < 5
    assert turn.transcript in ("Number.", "Saturday. September 14th.")
    assert turn.reply
