"""Runs whose audio callers would not understand: no budget is passed with them, and a measurement says so."""

from __future__ import annotations

from turngap.findings import summarise_findings
from turngap.model.finding import SPOILS_SOUND, Finding, FindingKind
from turngap.model.result import Verdict
from turngap.model.turn import TurnRecord
from turngap.verdict.gate import judge_run
from turngap.verdict.sound import check_sound

from tests.harness.verdict.test_gate import EDGE, evidence, run


def spoilt(n: int, calls: int, kind: FindingKind) -> list[TurnRecord]:
    """Good turns, one a call; in the first `calls` of them something was found."""
    found = (Finding(kind=kind, count=3, value=-20.0),)
    return [turn.model_copy(update={"findings": found}) if index < calls else turn for index, turn in enumerate(run(n))]


def test_no_budget_is_passed_with_audio_that_is_no_speech() -> None:
    """Answers in time, each of them noise: INVALID, and the sentence says what came back and the remedy."""
    for kind in sorted(SPOILS_SOUND):
        judged = judge_run(spoilt(117, 117, kind), evidence(117), EDGE)
        assert judged.verdict is Verdict.INVALID
        (check,) = (check for check in judged.checks if check.name == "sound")
        assert check.ok is False
        assert check.text in judged.sentence
        (finding,) = summarise_findings(spoilt(117, 117, kind))
        assert check.text == f"{finding.text}; {finding.remedy}"
    assert judge_run(run(117), evidence(117), EDGE).verdict is Verdict.PASS


def test_a_measurement_without_a_budget_stays_one_and_says_what_came_back() -> None:
    """The figures are what they are; the sentence does not leave them alone."""
    judged = judge_run(spoilt(40, 40, FindingKind.ALAW), evidence(40))
    assert judged.verdict is Verdict.MEASURED
    assert " But A-law was sent as μ-law in 120 messages" in judged.sentence
    assert judged.sentence.startswith(judge_run(run(40), evidence(40)).sentence)


def test_one_call_in_ten_may_be_a_detector_s_error() -> None:
    """Then it is a warning; with more it is none. Findings that spoil no sound change no verdict."""
    at_most = check_sound(spoilt(100, 10, FindingKind.SLOW), budgeted=True)
    assert at_most is not None
    assert (at_most.ok, at_most.warning) == (None, True)
    assert at_most.text.startswith("10 calls of 100: ")
    more = check_sound(spoilt(100, 11, FindingKind.SLOW), budgeted=True)
    assert more is not None
    assert more.ok is False
    for kind in set(FindingKind) - SPOILS_SOUND:
        assert check_sound(spoilt(100, 100, kind), budgeted=True) is None
    assert check_sound(run(100), budgeted=True) is None
