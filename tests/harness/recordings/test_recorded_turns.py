"""The turns of a recording: outcomes by the rules of every run, from what two channels of sound can say."""

from __future__ import annotations

import pytest
from turngap.model.turn import Outcome, TurnRecord
from turngap.recordings.sides import make_stretch
from turngap.recordings.speech import Edge, Stretch
from turngap.recordings.talk import follow_floor
from turngap.recordings.turns import CUT_AT_END, CUT_IN_OVERLAP, IN_PAUSE, find_dead_air, score_recorded_call
from turngap.scenario import Expectation

LENGTH_MS = 60_000.0
Spans = list[tuple[float, float]]


def score(caller: Spans, agent: Spans, length_ms: float = LENGTH_MS) -> list[TurnRecord]:
    sides = [tuple(make_stretch(*span) for span in spans) for spans in (caller, agent)]
    spurts = follow_floor(sides[0], sides[1], length_ms)
    return score_recorded_call(spurts, length_ms, call=3, name="call", file="call.wav", network_ms=100.0)


def test_an_answer_has_its_gap_and_no_stages() -> None:
    """t0 and t1 are where they lie in the recording."""
    (turn,) = score([(2000, 3000), (3400, 4000)], [(500, 1500), (4650, 6000), (6300, 7000)])
    assert turn.outcome is Outcome.ANSWERED
    assert (turn.turn_gap_ms, turn.perceived_gap_ms) == (650, 750)
    assert (turn.t0_ns, turn.t1_ns) == (4_000_000_000, 4_650_000_000)
    assert turn.pause_ms == 400
    assert turn.clause_gap_ms == 300
    assert turn.stages is None
    assert turn.path == ()
    assert turn.transcript is None
    assert turn.substance_gap_ms is None
    assert (turn.call, turn.utterance_id) == (3, "call-01")


def test_uncertain_ends_make_a_gap_uncertain() -> None:
    """The shortest gap is from the latest end to the earliest start."""
    caller = (Stretch(Edge(1000, 990, 1000), Edge(3000, 2960, 3030), -20),)
    agent = (Stretch(Edge(3600, 3590, 3620), Edge(5000, 5000, 5000), -20),)
    spurts = follow_floor(caller, agent, LENGTH_MS)
    (turn,) = score_recorded_call(spurts, LENGTH_MS, call=0, name="call", file="call.wav", network_ms=0.0)
    assert turn.recorded is not None
    assert (turn.recorded.gap_low_ms, turn.turn_gap_ms, turn.recorded.gap_high_ms) == (560, 600, 660)
    assert (turn.label_low_ms, turn.label_high_ms) == (30, -40)


def test_an_agent_that_talks_over_the_callers_end_cuts_in() -> None:
    """By more than is heard as an overlap; less of it is an answer without a gap."""
    (turn,) = score([(1000, 3000)], [(2600, 5000)])
    assert turn.outcome is Outcome.CUT_OFF
    assert turn.turn_gap_ms is None
    (turn,) = score([(1000, 3000)], [(2950, 5000)])
    assert (turn.outcome, turn.turn_gap_ms) == (Outcome.ANSWERED, 0.0)


def test_an_agent_that_tries_and_stops_cuts_in_too() -> None:
    """It talked over the caller for a second; a backchannel of it is none."""
    (turn,) = score([(1000, 6000)], [(3000, 4200), (6500, 8000)])
    assert turn.outcome is Outcome.CUT_OFF
    (turn,) = score([(1000, 6000)], [(3000, 3400), (6500, 8000)])
    assert (turn.outcome, turn.turn_gap_ms) == (Outcome.ANSWERED, 500)


def test_a_barge_in_is_timed_and_answered() -> None:
    """From the caller's first sound to the agent's last; the answer comes after the caller's end."""
    (turn,) = score([(4000, 6000)], [(1000, 4450), (6700, 8000)])
    assert (turn.expectation, turn.outcome, turn.over_agent) == (Expectation.STOP, Outcome.ANSWERED, True)
    assert (turn.barge_in_stop_ms, turn.talk_over_ms, turn.turn_gap_ms) == (450, 450, 700)


def test_an_agent_that_does_not_stop_talks_over_the_caller() -> None:
    """After a second it has not yielded, whether it stops later or the caller does."""
    assert [turn.outcome for turn in score([(4000, 8000)], [(1000, 6000), (9000, 9500)])] == [Outcome.TALKED_OVER]
    assert [turn.outcome for turn in score([(4000, 5500)], [(1000, 9000)])] == [Outcome.TALKED_OVER]


def test_a_backchannel_is_held() -> None:
    """The agent went on; nothing is to be answered, and there is no gap."""
    (turn,) = score([(3000, 3300)], [(1000, 6000)])
    assert (turn.expectation, turn.outcome, turn.went_on_ms) == (Expectation.IGNORE, Outcome.HELD, 0.0)
    assert turn.turn_gap_ms is None


def test_what_a_recording_leaves_open_is_not_scored() -> None:
    """A short sound in the agent's pause, an end of the recording before an answer, and one while both talk."""
    for caller, agent, length_ms, why in (
        ([(3200.0, 3500.0)], [(1000.0, 3000.0), (3900.0, 6000.0)], LENGTH_MS, IN_PAUSE),
        ([(1000.0, 3000.0)], [(200.0, 600.0)], 6000.0, CUT_AT_END),
        ([(3000.0, 6000.0)], [(1000.0, 6000.0)], 6000.0, CUT_IN_OVERLAP),
    ):
        (turn,) = score(caller, agent, length_ms)
        assert (turn.scored, turn.detail) == (False, why)


def test_dead_air_is_a_missed_turn() -> None:
    """Five seconds without an answer, before the caller asks again or at the end of the recording."""
    spans: tuple[Spans, Spans] = [(1000, 2000), (8000, 9000)], [(9600, 11_000)]
    first, second = score(*spans)
    assert (first.outcome, second.outcome) == (Outcome.MISSED, Outcome.ANSWERED)
    sides = [tuple(make_stretch(*span) for span in each) for each in spans]
    assert [(a, b, side.value) for a, b, side in find_dead_air(follow_floor(sides[0], sides[1], LENGTH_MS))] == [
        (2000, 8000, "caller")
    ]
    assert [turn.outcome for turn in score([(1000, 2000)], [(100, 500)], 10_000)] == [Outcome.MISSED]


def test_a_caller_who_goes_on_into_the_answer_is_remarked_on() -> None:
    """Whether the agent had cut in or was interrupted, the recording does not say."""
    first, _ = score([(1000, 2000), (3200, 5000)], [(2700, 3500), (5600, 7000)])
    assert first.outcome is Outcome.ANSWERED
    assert first.recorded is not None
    assert "500 ms into the answer" in first.recorded.remark


def test_a_late_answer_keeps_its_gap() -> None:
    """However long it took."""
    (turn,) = score([(1000, 2000)], [(9000, 10_000)])
    assert (turn.outcome, turn.turn_gap_ms) == (Outcome.ANSWERED, pytest.approx(7000))
