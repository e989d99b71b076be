"""Whether the texts of an agent's clauses may be believed."""

from __future__ import annotations

import pytest
from turngap.model.result import Verdict
from turngap.scoring.heard_content import HeardContent, describe_difference
from turngap.verdict.budget import load_budget
from turngap.verdict.content_sample import SAMPLE, ContentSample, check_content, select_sample
from turngap.verdict.gate import Evidence, judge_run

from tests.harness import report_builders as builders

SAYS = {"substance_from": "spans", "substance_text": "The office is open.", "substance_note": ""}


def turns(n: int, **fields: object) -> list:
    made = [builders.turn(place, scale=0.4, call=place, utterance_id=f"u{place}") for place in range(n)]
    update = {**SAYS, **fields}
    return [
        turn.model_copy(
            update={"substance_gap_ms": turn.turn_gap_ms, "perceived_substance_ms": turn.perceived_gap_ms, **update}
        )
        for turn in made
    ]


def test_the_sample_is_the_same_for_the_same_run() -> None:
    """And another one for another run; never of turns that are in doubt anyway, or that spans do not know."""
    of = turns(60)
    assert select_sample(of, "run a") == select_sample(list(reversed(of)), "run a")
    assert len(select_sample(of, "run a")) == SAMPLE
    assert select_sample(of, "run a") != select_sample(of, "run b")
    assert len(select_sample(of[:5], "run a")) == 5
    assert not select_sample(turns(30, substance_note="no pause follows 'Um,'"), "run a")
    assert not select_sample(turns(30, substance_from="transcript"), "run a")


@pytest.mark.parametrize(
    ("replies", "differing", "ok"), [(20, 0, True), (20, 2, True), (20, 3, False), (5, 1, True), (5, 2, False)]
)
def test_more_than_a_tenth_is_too_much(replies: int, differing: int, ok: bool) -> None:
    """One may always differ: the recogniser errs too."""
    assert check_content(ContentSample(replies, differing, "how")).ok is ok


def test_without_a_recogniser_nothing_is_checked() -> None:
    """The check says what to install."""
    check = check_content(ContentSample(0, skipped="pip install 'turngap[cpu]'"))
    assert check.ok is None
    assert "turngap[cpu]" in check.text


@pytest.mark.parametrize(
    ("content", "differs"),
    [
        (HeardContent(0, "", 20, "The office is open"), ""),
        (HeardContent(250, "Um,", 200, "Um, the office is open"), ""),
        (HeardContent(3500, "Um,", 20, "Um, the office is open"), "3500 ms later"),
        (HeardContent(0, "", 20, "Hello there"), "'Hello there' heard"),
        (HeardContent(None, "a sound without words", 0), "no content was heard"),
    ],
)
def test_how_a_transcript_contradicts_the_spans(content: HeardContent, differs: str) -> None:
    """Later content, other words, or none."""
    said = describe_difference(turns(1)[0], content)
    assert differs in said
    assert bool(said) is bool(differs)


def test_a_lying_agent_gets_no_verdict_but_fail() -> None:
    """190 fast turns pass; not if the sample contradicts them. What fails by its own report fails all the same."""
    budget = load_budget("edge500")
    for sample, expected in ((ContentSample(20), Verdict.PASS), (ContentSample(20, 20, "how"), Verdict.INVALID)):
        evidence = Evidence(190, complete=True, calibration_bias_ms=0.1, sentinel_bias_ms=0.1, content=sample)
        judgement = judge_run(turns(190), evidence, budget)
        assert judgement.verdict is expected, judgement.sentence
        assert any(check.name == "content" and check.ok is (not sample.differing) for check in judgement.checks)
    assert judgement.sentence.startswith("No verdict on edge500: 20 of 20 replies did not say")
    slow = judge_run(turns(190, substance_gap_ms=4000.0, perceived_substance_ms=4095.0), evidence, budget)
    assert slow.verdict is Verdict.FAIL
