"""What a caller heard, how long nobody was heard, and what counts as lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from turngap.chaos.judgement import (
    Heard,
    NeighbourFigures,
    find_gaps_ms,
    list_heard,
    list_reasons,
    longest_silence_ms,
    measure_neighbour,
)
from turngap.model.records import CallEnd
from turngap_agent import tracing
from turngap_agent.tracing import Span

from tests.harness.builders import CALL_SID, Call, ns, quiet, tone

FINE = NeighbourFigures(3, 3, 0, 90.0, 110.0, 900.0)


def turn_span(sent_ms: float, *, error: str = "") -> Span:
    """An attempt whose first audio was sent at that time."""
    facts = {tracing.SENT_NS: ns(sent_ms), **({tracing.ERROR: error} if error else {})}
    return Span(tracing.TURN_SPAN, ns(sent_ms), ns(sent_ms + 100), CALL_SID, 0, 1, facts)


def test_an_answer_and_an_apology_differ_by_the_agents_span():
    """Sound after an utterance is an answer, or what the agent says when a turn fails; nothing is nothing."""
    call = Call().utter(0, 500).hear(700, tone(400)).utter(2000, 2500).hear(3500, tone(400)).utter(5000, 5500)
    record = call.ends(6000)
    spans = [turn_span(690), turn_span(3490, error="stt: no answer within 900 ms")]
    assert list_heard(record, spans) == (Heard.ANSWER, Heard.APOLOGY, Heard.NOTHING)


@pytest.mark.parametrize(("sound", "expected"), [(True, Heard.POLITE_END), (False, Heard.CUT_OFF)])
def test_an_agent_that_hangs_up_says_something_first(sound, expected):
    """With a sentence it is a polite end, without one the caller was cut off."""
    call = Call().utter(0, 500)
    if sound:
        call.hear(900, tone(600))
    assert list_heard(call.ends(2000, end=CallEnd.AGENT_CLOSED), ()) == (expected,)


def test_silence_is_time_in_which_nobody_is_audible():
    """Counted from the end of the first utterance to the end of the call; digital silence is silence."""
    call = Call().utter(1000, 1500).hear(2100, quiet(200), tone(400)).utter(3000, 3400)
    assert longest_silence_ms(call.ends(8400)) == pytest.approx(5000, abs=1)
    assert longest_silence_ms(Call().ends(3000)) == 0.0


def test_speech_over_the_agent_is_no_silence_of_negative_length():
    """A caller who speaks over the agent, and an agent who is audible to the end."""
    call = Call().utter(0, 500).hear(700, tone(3000)).utter(1500, 2000)
    assert longest_silence_ms(call.ends(3600)) == pytest.approx(200, abs=1)


def test_gaps_are_those_of_each_utterance():
    """From the end of each utterance to the first sound after it, before the next utterance."""
    record = Call().utter(0, 500).hear(720, tone(400)).utter(2000, 2500).utter(4000, 4500).ends(6000)
    first, *others = find_gaps_ms(record)
    assert first == pytest.approx(220, abs=1)
    assert others == [None, None]


def test_a_neighbour_is_judged_by_its_finished_turns():
    """The turn that the end of the run leaves unfinished is no turn without an answer."""
    record = Call().utter(0, 500).hear(720, tone(400)).utter(2000, 2500).ends(2600, end=CallEnd.INTERRUPTED)
    figures = measure_neighbour(record, [turn_span(715)])
    assert (figures.turns, figures.answered, figures.apologised) == (1, 1, 0)
    assert figures.worst_gap_ms == figures.median_gap_ms == pytest.approx(220, abs=1)


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"struck": False}, "did not strike"),
        ({"silence_ms": 5001.0}, "5.0 s of silence"),
        ({"heard": (Heard.ANSWER, Heard.NOTHING)}, "nothing"),
        ({"heard": (Heard.APOLOGY, Heard.CUT_OFF)}, "cut off"),
        ({"heard": ()}, "could not speak"),
        ({"end": CallEnd.REFUSED}, "refused"),
        ({"next_call": "apology"}, "the next call"),
        ({"neighbour": NeighbourFigures(3, 2, 1, 90.0, 110.0, 900.0)}, "2 of 3 turns answered, 1 apology"),
        ({"neighbour": NeighbourFigures(0, 0, 0, None, None, 0.0)}, "0 of 0 turns"),
        ({"neighbour": NeighbourFigures(3, 3, 0, 90.0, 110.0, 5200.0)}, "the neighbour heard 5.2 s"),
        ({"death": "the agent died"}, "the agent died"),
    ],
)
def test_one_thing_is_enough_to_be_lost(changed, part):
    """Each of the promises by itself; with all of them kept nothing speaks against the row."""
    fine = {
        "heard": (Heard.APOLOGY, Heard.ANSWER),
        "silence_ms": 4900.0,
        "neighbour": FINE,
        "next_call": "answer",
        "struck": True,
        "end": CallEnd.COMPLETED,
    }
    assert list_reasons(**fine) == ()
    (reason,) = list_reasons(**{**fine, **changed})
    assert part in reason


@pytest.mark.parametrize(("excused", "n_reasons"), [(False, 1), (True, 0)])
def test_an_apology_will_do_where_the_process_was_killed(excused, n_reasons):
    """The neighbour shares it: its turn is answered or apologised for. Silence will not do even then."""
    fine = {"struck": True, "end": CallEnd.COMPLETED, "excused": excused}
    heard = (Heard.APOLOGY, Heard.ANSWER)
    sorry = NeighbourFigures(3, 2, 1, 90.0, 110.0, 900.0)
    assert len(list_reasons(heard, 900.0, sorry, "answer", **fine)) == n_reasons
    assert len(list_reasons(heard, 900.0, replace(sorry, apologised=0), "answer", **fine)) == 1


def test_a_neighbour_who_heard_an_apology_was_not_answered():
    """A polite end counts as one."""
    call = Call().utter(0, 500).hear(720, tone(400)).utter(2000, 2500).hear(2800, tone(400))
    record = call.ends(4000, end=CallEnd.AGENT_CLOSED)
    figures = measure_neighbour(record, [turn_span(715, error="stt: its process ended"), turn_span(2795, error="x")])
    assert (figures.turns, figures.answered, figures.apologised) == (2, 0, 2)
