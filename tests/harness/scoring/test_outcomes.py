"""Outcomes: each by its finding, their precedence, and when our own lateness leaves one open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from turngap.model.turn import Outcome
from turngap.scenario import Expectation
from turngap.scoring.outcomes import TurnFacts, judge_turn

FINE = TurnFacts(
    expectation=Expectation.RESPOND,
    over_agent=False,
    in_pause=False,
    intruded_ms=None,
    spoke_up_ms=None,
    limit_after_ms=10_000,
    answer_to_ignored=False,
    stop_ms=None,
    stale_ms=None,
    sentence_gone=False,
    lost_ms=0,
    repeated_ms=0,
    call_broke="",
    agent_error="",
    cut_off_ms=None,
    answered=True,
    only_heard="",
    listened_ms=2400,
    waited_ms=6000,
    talked_through=False,
    underrun_ms=0,
    own_underrun_ms=0,
    stalled_after_ms=None,
    missing_last_word=None,
    wer=0.0,
    wer_limit=0.34,
    send_late_ms=0.1,
    recv_late_ms=0.0,
)
FAULTS: dict[Outcome, dict[str, Any]] = {
    Outcome.FAILED: {"call_broke": "the agent closed the call"},
    Outcome.CUT_OFF: {"cut_off_ms": 120.0, "answered": False},
    Outcome.MISSED: {"answered": False},
    Outcome.BROKEN: {"underrun_ms": 100.001},
    Outcome.TRUNCATED: {"missing_last_word": "tomorrow"},
    Outcome.WRONG: {"wer": 0.35},
}
"""Each outcome's finding alone, in the order of precedence."""


def outcome(**changed: Any) -> Outcome:
    return judge_turn(replace(FINE, **changed))[0]


def test_sound_without_content_is_no_answer() -> None:
    """Known to be all that was heard: missed, in doubt where our lateness may have kept the rest away."""
    missed = judge_turn(replace(FINE, only_heard="um,", listened_ms=6012.0))
    assert missed == (Outcome.MISSED, 'only "um," was heard (no content within 6.0 s)')
    tone = judge_turn(replace(FINE, only_heard="a sound without words", listened_ms=3500.0))
    assert tone == (Outcome.MISSED, "only a sound without words was heard (no content within 3.5 s)")
    assert outcome(only_heard="um,", recv_late_ms=100.1) is Outcome.INVALID
    assert outcome(only_heard="um,", underrun_ms=3000.0) is Outcome.MISSED


def test_an_apology_is_no_answer() -> None:
    """The agent was heard, and says itself that it failed: however soon it apologised."""
    outcome = judge_turn(replace(FINE, agent_error="llm: the server does not answer"))
    assert outcome == (Outcome.FAILED, "the agent reported an error: llm: the server does not answer")


def test_answered() -> None:
    """Nothing wrong is answered, and there is nothing to say about it."""
    assert judge_turn(FINE) == (Outcome.ANSWERED, "")


@pytest.mark.parametrize("expected", FAULTS)
def test_each_finding_names_its_outcome(expected: Outcome) -> None:
    """One finding alone names the turn and says why in one line."""
    named, detail = judge_turn(replace(FINE, **FAULTS[expected]))
    assert named is expected
    assert detail
    assert "\n" not in detail
    assert "doubt" not in detail


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_the_first_finding_names_the_turn(first: int) -> None:
    """Failed, cut off, missed, broken, truncated, wrong: the first finding decides, whatever the others are."""
    together = {}
    for changes in list(FAULTS.values())[first:]:
        together |= changes
    assert outcome(**together) is list(FAULTS)[first]


def test_the_detail_tells_of_everything() -> None:
    """A finding that does not name the outcome is recorded all the same."""
    _, detail = judge_turn(replace(FINE, underrun_ms=340, missing_last_word="tomorrow", wer=0.4))
    assert detail == (
        "the reply had underruns of 340 ms in all; the last word 'tomorrow' was not in the words that the agent "
        "understood; word error rate 0.40 is over 0.34"
    )


def test_limits_are_inclusive() -> None:
    """Exactly 100 ms dry, exactly the word error limit and exactly 5 ms late are all still in order."""
    assert outcome(underrun_ms=100.0, wer=0.34, send_late_ms=5.0, recv_late_ms=5.0) is Outcome.ANSWERED


def test_no_transcript_is_not_wrong() -> None:
    """Without a transcript there is no rate and no verdict on the words."""
    assert outcome(wer=None) is Outcome.ANSWERED


def test_a_reply_that_stalled_is_broken() -> None:
    """Less sound than any word has, and nothing after it, is a stall, not a short answer."""
    assert judge_turn(replace(FINE, stalled_after_ms=80)) == (Outcome.BROKEN, "the reply stopped after 80 ms of sound")


@pytest.mark.parametrize("late", ["send_late_ms", "recv_late_ms"])
def test_our_lateness_takes_an_answered_turns_figure_away(late: str) -> None:
    """Over 5 ms, sending or receiving, an otherwise answered turn is invalid, and its detail has the figures."""
    named, detail = judge_turn(replace(FINE, **{late: 5.1}))
    assert named is Outcome.INVALID
    assert "5.1 ms" in detail


@pytest.mark.parametrize("expected", FAULTS)
def test_some_lateness_hides_no_fault(expected: Outcome) -> None:
    """Lateness that moves a gap cannot invent a fault: 99 ms late, every finding still holds."""
    assert outcome(**FAULTS[expected], send_late_ms=99.0, recv_late_ms=99.0) is expected


@pytest.mark.parametrize(
    ("finding", "late", "expected"),
    [
        (Outcome.FAILED, "send_late_ms", Outcome.FAILED),
        (Outcome.CUT_OFF, "send_late_ms", Outcome.INVALID),
        (Outcome.CUT_OFF, "recv_late_ms", Outcome.CUT_OFF),
        (Outcome.MISSED, "send_late_ms", Outcome.INVALID),
        (Outcome.MISSED, "recv_late_ms", Outcome.INVALID),
        (Outcome.BROKEN, "send_late_ms", Outcome.BROKEN),
        (Outcome.TRUNCATED, "send_late_ms", Outcome.INVALID),
        (Outcome.TRUNCATED, "recv_late_ms", Outcome.TRUNCATED),
        (Outcome.WRONG, "send_late_ms", Outcome.INVALID),
        (Outcome.WRONG, "recv_late_ms", Outcome.WRONG),
    ],
)
def test_a_hole_in_the_callers_speech_leaves_a_finding_in_doubt(finding: Outcome, late: str, expected: Outcome) -> None:
    """Over 100 ms late, what a pause in the caller's speech could have caused is in doubt; the rest holds."""
    named, detail = judge_turn(replace(FINE, **FAULTS[finding], **{late: 101.0}))
    assert named is expected
    assert ("(in doubt)" in detail) is (expected is Outcome.INVALID)


def test_our_own_stalls_are_taken_off_an_underrun() -> None:
    """Dry time that our own absence can have caused breaks no reply for certain; what is left over 100 ms does."""
    assert outcome(underrun_ms=150, own_underrun_ms=50) is Outcome.INVALID
    assert outcome(underrun_ms=150, own_underrun_ms=49) is Outcome.BROKEN


def test_a_certain_finding_outranks_one_in_doubt() -> None:
    """An underrun that may be ours does not hide a wrong transcript; it stays in the detail."""
    named, detail = judge_turn(replace(FINE, underrun_ms=150, own_underrun_ms=150, wer=0.9))
    assert named is Outcome.WRONG
    assert detail.startswith("the reply had underruns of 150 ms in all (in doubt); word error rate")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"expectation": Expectation.STOP, "over_agent": True, "stop_ms": 1001.0}, Outcome.TALKED_OVER),
        (
            {"expectation": Expectation.STOP, "over_agent": True, "stop_ms": 90.0, "stale_ms": 301.0},
            Outcome.TALKED_OVER,
        ),
        ({"expectation": Expectation.IGNORE, "over_agent": True, "sentence_gone": True}, Outcome.STOPPED),
        ({"expectation": Expectation.IGNORE, "over_agent": True, "lost_ms": 101.0}, Outcome.STOPPED),
        ({"expectation": Expectation.IGNORE, "over_agent": True, "repeated_ms": 101.0}, Outcome.STOPPED),
    ],
)
def test_our_own_hole_leaves_a_reaction_open(changes: dict[str, Any], expected: Outcome) -> None:
    """100 ms without frames, or without an ear, may have been why: then the agent is not judged."""
    assert outcome(**changes) is expected
    assert outcome(**changes, send_late_ms=100.5) is Outcome.INVALID
    assert outcome(**changes, recv_late_ms=100.5) is Outcome.INVALID
    assert outcome(**changes, recv_late_ms=50) is expected


@pytest.mark.parametrize("expectation", [Expectation.WAIT, Expectation.IGNORE])
def test_turns_that_need_no_answer_have_no_other_finding(expectation: Expectation) -> None:
    """No answer is what is wanted, and there are no words to be wrong."""
    silent = {"expectation": expectation, "over_agent": True, "answered": False, "wer": 1.0, "missing_last_word": "x"}
    assert outcome(**silent) is Outcome.HELD
    assert outcome(**silent, answer_to_ignored=True) is Outcome.INTRUDED
    assert outcome(**silent, call_broke="the agent closed the call") is Outcome.FAILED


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"cut_off_ms": 30_000.0, "spoke_up_ms": 30_500.0}, Outcome.LIMITED),
        ({"cut_off_ms": 30_000.0, "spoke_up_ms": 10_000.0}, Outcome.LIMITED),
        ({"cut_off_ms": 50_000.0, "spoke_up_ms": 9_999.0}, Outcome.CUT_OFF),
        ({"cut_off_ms": None, "spoke_up_ms": 61_000.0}, Outcome.MISSED),
        ({"cut_off_ms": None, "spoke_up_ms": None, "answered": False}, Outcome.MISSED),
        ({"cut_off_ms": 30_000.0, "spoke_up_ms": 30_500.0, "call_broke": "gone"}, Outcome.FAILED),
    ],
)
def test_a_caller_who_does_not_stop(changes: dict[str, Any], expected: Outcome) -> None:
    """To be spoken to before they end, yet not too soon; their words are no measure, nor is a gap."""
    limit = {"expectation": Expectation.LIMIT, "wer": 0.9, "missing_last_word": "key"}
    assert outcome(**limit, **changes) is expected
    assert outcome(**limit, **changes, send_late_ms=50.0) is expected
    in_doubt = outcome(**limit, **changes, send_late_ms=101.0)
    assert in_doubt is (Outcome.FAILED if expected is Outcome.FAILED else Outcome.INVALID)
