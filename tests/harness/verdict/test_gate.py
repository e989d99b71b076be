"""The gate: what passes, what fails, and what it refuses to judge."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.model.finding import Finding, FindingKind
from turngap.model.result import Verdict
from turngap.model.turn import GOOD, Outcome, StageTime, TurnRecord
from turngap.verdict import stats, summary
from turngap.verdict.budget import Budget, Limit
from turngap.verdict.gate import Evidence, judge_run
from turngap.verdict.limits import LimitState, judge_limit
from turngap.verdict.validity import OWN_OPENINGS
from turngap_agent.tracing import Stage

EDGE = Budget(name="edge", limits=(Limit(metric="turn_gap_ms", at_most=500),))


def turn(index: int, gap: float | None = 400.0, outcome: Outcome = Outcome.ANSWERED, **changes: object) -> TurnRecord:
    fields: dict[str, object] = {
        "call": index,
        "call_sid": f"CA{index}",
        "turn": 0,
        "utterance_id": f"u{index}",
        "stratum": "sentence",
        "warm_up": False,
        "cold": False,
        "scored": True,
        "outcome": outcome,
        "synthetic_caller": False,
        "t0_ns": 0,
        "t1_ns": None if gap is None else int(gap * 1e6),
        "turn_gap_ms": gap,
        "turn_gap_frame_ms": gap,
        "perceived_gap_ms": None if gap is None else gap + 95,
        "first_byte_ms": gap,
        "substance_gap_ms": gap,
        "perceived_substance_ms": None if gap is None else gap + 95,
        "substance_from": "" if gap is None else "spans",
        "stages": {stage: StageTime(duration_ms=10, exposed_ms=10, slack_ms=0) for stage in Stage},
        "reference": "a b",
        "transcript": "a b",
        "wer": 0.0,
        "word_errors": 0,
        "words": 2,
        "reply": None,
        "first_clause": None,
        "lateness_send_ms": 0,
        "lateness_recv_ms": 0,
        "label_low_ms": 0,
        "label_high_ms": 0,
    }
    return TurnRecord.model_validate(fields | changes)


def run(n: int, over: int = 0, invalid: int = 0) -> list[TurnRecord]:
    """n turns in a fixed mixed order, `over` of them late and `invalid` spoilt by the instrument."""
    kinds = [600.0] * over + [None] * invalid + [400.0 + (17 * i) % 31 for i in range(n - over - invalid)]
    spread = [kinds[(i * 7919) % n] for i in range(n)] if n % 7919 else kinds
    return [
        turn(i, 450.0 if gap is None else gap, Outcome.INVALID if gap is None else Outcome.ANSWERED)
        for i, gap in enumerate(spread)
    ]


def evidence(n: int, **changes: object) -> Evidence:
    known = {"calibration_bias_ms": 0.1, "sentinel_bias_ms": 0.2, "sentinel_samples": 50}
    return Evidence(planned_turns=n, complete=True, **(known | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "allowed"), [(59, 0), (93, 1), (124, 2), (153, 3), (181, 4)])
def test_misses_allowed(n: int, allowed: int) -> None:
    """As many turns over budget pass as the exact bound allows, and not one more."""
    assert judge_run(run(n, allowed), evidence(n), EDGE).verdict is Verdict.PASS
    assert judge_run(run(n, allowed + 1), evidence(n), EDGE).verdict is Verdict.NOT_SHOWN


def test_fail_means_shown_to_be_over() -> None:
    """Of 190 turns 16 over the limit show that p95 is over it; 5 to 15 show neither, and the text says what is so."""
    assert judge_run(run(190, 16), evidence(190), EDGE).verdict is Verdict.FAIL
    for over in (5, 15):
        judged = judge_run(run(190, over), evidence(190), EDGE)
        assert (judged.verdict, judged.verdict.exit_code) == (Verdict.NOT_SHOWN, 1)
        assert f"{over} of 190 turns over 500 ms: p95 of turn gap is between" in judged.sentence
        assert "more turns would decide" in judged.sentence or "no run of up to" in judged.sentence


def test_fail_of_several_limits_is_rarer_by_their_number() -> None:
    """One limit is enough for FAIL, so two limits share the probability of a false one."""
    two = EDGE.model_copy(update={"limits": (*EDGE.limits, Limit(metric="missed_rate", at_most=0.05))})
    assert judge_run(run(190, 16), evidence(190), two).verdict is Verdict.NOT_SHOWN
    assert judge_run(run(190, 17), evidence(190), two).verdict is Verdict.FAIL


def test_a_limit_shown_to_be_missed_fails_though_another_is_not_judged() -> None:
    """What was not measured can't save an agent that was shown to be over."""
    budget = EDGE.model_copy(update={"limits": (*EDGE.limits, Limit(metric="vram_peak_mib", at_most=1000))})
    assert judge_run(run(190, 40), evidence(190), budget).verdict is Verdict.FAIL
    assert judge_run(run(190, 0), evidence(190), budget).verdict is Verdict.INVALID


@pytest.mark.parametrize("outcome", [o for o in Outcome if o not in (*GOOD, Outcome.INVALID)])
def test_every_bad_outcome_is_over_budget(outcome: Outcome) -> None:
    """A fast gap doesn't save a turn that was not answered as it should be."""
    turns = run(59)
    turns[7] = turn(7, 100.0, outcome)
    assert judge_run(turns, evidence(59), EDGE).verdict is Verdict.NOT_SHOWN
    turns = [turn(i, 100.0, outcome) for i in range(59)]
    assert judge_run(turns, evidence(59), EDGE).verdict is Verdict.FAIL


def wordless(n: int, over: int = 0) -> list[TurnRecord]:
    """Turns of random weights: without a transcript."""
    unheard = {"transcript": None, "wer": None, "word_errors": None, "words": None}
    return [one.model_copy(update=unheard) for one in run(n, over)]


def test_random_weights_are_judged_by_time_alone() -> None:
    """Understanding is left out of the budget, and the check says so; an agent with weights owes its transcripts."""
    budget = Budget(name="both", limits=(*EDGE.limits, Limit(metric="wer", at_most=0.05)))
    judged = judge_run(wordless(93, 1), evidence(93, weightless=True), budget)
    assert judged.verdict is Verdict.PASS
    assert [check.ok for check in judged.checks if check.name == "word errors"] == [None]
    assert judge_run(wordless(93, 2), evidence(93, weightless=True), budget).verdict is Verdict.NOT_SHOWN
    assert judge_run(wordless(93, 1), evidence(93), budget).verdict is Verdict.INVALID


def test_random_weights_are_not_judged_by_their_words_alone() -> None:
    """A budget of nothing else has no verdict."""
    budget = Budget(name="words", limits=(Limit(metric="wer", at_most=0.05),))
    judged = judge_run(wordless(93), evidence(93, weightless=True), budget)
    assert judged.verdict is Verdict.INVALID
    assert "random weights" in judged.sentence


def test_too_few_turns_say_how_many_more() -> None:
    """Without a bound there is no PASS: INVALID, and what to do."""
    judged = judge_run(run(12), evidence(12), EDGE)
    assert judged.verdict is Verdict.INVALID
    assert "47 more turns" in judged.sentence


def test_no_turns_are_invalid_with_and_without_a_budget() -> None:
    """Nothing measured is never green."""
    assert judge_run([], evidence(0), EDGE).verdict is Verdict.INVALID
    assert judge_run([], evidence(0)).verdict is Verdict.INVALID


def test_only_invalid_turns_are_no_samples() -> None:
    """A run whose every turn was spoilt has measured nothing."""
    judged = judge_run([turn(i, 400, Outcome.INVALID) for i in range(3)], evidence(3))
    assert judged.verdict is Verdict.INVALID
    assert "all 3 turns were spoilt" in judged.sentence


def test_invalid_turns_are_judged_twice() -> None:
    """Three spoilt turns of 181 don't matter where the verdict is the same either way, and do where it is not."""
    assert judge_run(run(181, over=0, invalid=3), evidence(181), EDGE).verdict is Verdict.PASS
    hanging = judge_run(run(181, over=3, invalid=3), evidence(181), EDGE)
    assert hanging.verdict is Verdict.INVALID
    assert "depends on 3 invalid turns" in hanging.sentence
    assert judge_run(run(181, over=9, invalid=3), evidence(181), EDGE).verdict is Verdict.NOT_SHOWN
    assert judge_run(run(181, over=16, invalid=3), evidence(181), EDGE).verdict is Verdict.FAIL


def test_more_than_two_percent_invalid_is_invalid() -> None:
    """Many spoilt turns mean a spoilt run, even where every other turn passes."""
    assert judge_run(run(181, invalid=4), evidence(181), EDGE).verdict is Verdict.INVALID


def test_repeats_and_shared_calls_do_not_gate() -> None:
    """p95 is bounded over distinct utterances, one scored turn a call."""
    turns = run(60)
    turns[3] = turn(3, utterance_id="u4")
    assert "distinct" in judge_run(turns, evidence(60), EDGE).sentence
    turns[3] = turn(3, call=4)
    assert "shares a call" in judge_run(turns, evidence(60), EDGE).sentence


def test_an_unfinished_run_is_invalid() -> None:
    """n is fixed before the run: stopping early is no way to pass."""
    judged = judge_run(run(60), evidence(70), EDGE)
    assert judged.verdict is Verdict.INVALID
    assert "needs 10 more turns" in judged.sentence


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"calibration_bias_ms": 5.1}, "before the run"),
        ({"sentinel_bias_ms": -6.0}, "under this load"),
        ({"sentinel_bias_ms": float("nan")}, "under this load"),
        ({"foreign_cpu_share": 0.4}, "other processes"),
        ({"calibration_bias_ms": None}, "not measured"),
        ({"sentinel_bias_ms": None}, "not measured"),
        ({"faults": ("the span receiver died",)}, "receiver died"),
        ({"prefix_flattered": 2}, "prefix cache served 2 turns"),
    ],
)
def test_bad_evidence_is_invalid(changes: dict[str, object], word: str) -> None:
    """An instrument that was off, or a machine that was not its own, leaves no verdict."""
    judged = judge_run(run(60), evidence(60, **changes), EDGE)
    assert judged.verdict is Verdict.INVALID
    assert word in judged.sentence


@pytest.mark.parametrize(
    ("changes", "checks"),
    [
        ({}, []),
        ({"prefix_cached": True}, [(None, "not known: the engine does not report it")]),
        ({"prefix_flattered": 0}, [(True, "it used no other call's work for any turn")]),
    ],
)
def test_prefix_cache_facts_are_checked(changes: dict[str, object], checks: list[tuple[bool | None, str]]) -> None:
    """Unknown is never reported as none; an agent without such a cache has no check."""
    judged = judge_run(run(60), evidence(60, **changes), EDGE)
    assert [(check.ok, check.text) for check in judged.checks if check.name == "prefix cache"] == checks
    assert judged.verdict is Verdict.PASS


def test_drift_is_invalid_under_a_budget() -> None:
    """A run that becomes slower all the way has no one p95."""
    turns = [turn(i, 200 + 2.0 * i) for i in range(60)]
    assert judge_run(turns, evidence(60), EDGE).verdict is Verdict.INVALID
    assert judge_run(turns, evidence(60)).verdict is Verdict.MEASURED


def test_without_a_budget_few_repeated_turns_are_measured() -> None:
    """A look at an agent needs no 59 turns; what would forbid a bound is stated, not judged."""
    judged = judge_run([turn(i, utterance_id="u", call=1) for i in range(3)], evidence(3))
    assert judged.verdict is Verdict.MEASURED
    assert "400 ms" in judged.sentence
    assert all(check.ok is not False for check in judged.checks)


def test_a_stage_limit_needs_stages() -> None:
    """A limit on a stage that no span reports is INVALID, never a pass."""
    budget = Budget(name="b", limits=(Limit(metric="stages.first_audio", at_most=20),))
    assert judge_run(run(59), evidence(59), budget).verdict is Verdict.PASS
    bare = [turn(i, stages=None) for i in range(59)]
    assert judge_run(bare, evidence(59), budget).verdict is Verdict.INVALID


def test_cut_offs_are_judged_on_their_bound() -> None:
    """No cut-off in 59 turns shows at most 5 %, not 2 %."""
    five, two = (Budget(name="b", limits=(Limit(metric="cut_off_rate", at_most=x),)) for x in (0.05, 0.02))
    assert judge_run(run(59), evidence(59), five).verdict is Verdict.PASS
    judged = judge_run(run(59), evidence(59), two)
    assert judged.verdict is Verdict.INVALID
    assert "90 more turns are needed for the cut-off limit" in judged.sentence
    turns = run(149)
    turns[0] = turn(0, None, Outcome.CUT_OFF)
    assert judge_run(turns, evidence(149), two).verdict is Verdict.NOT_SHOWN


def test_wer_and_memory() -> None:
    """Word errors are judged on their bound; without a measurement there is no verdict."""
    wer = Budget(name="b", limits=(Limit(metric="wer", at_most=0.05),))
    assert judge_run(run(100), evidence(100), wer).verdict is Verdict.PASS
    assert judge_run([turn(i, word_errors=1) for i in range(100)], evidence(100), wer).verdict is Verdict.FAIL
    silent = [turn(i, word_errors=None, words=None, wer=None, transcript=None) for i in range(100)]
    assert judge_run(silent, evidence(100), wer).verdict is Verdict.INVALID
    vram = Budget(name="b", limits=(Limit(metric="vram_peak_mib", at_most=80_000),))
    assert judge_run(run(60), evidence(60), vram).verdict is Verdict.INVALID
    assert judge_run(run(60), evidence(60, vram_peak_mib=70_000.0), vram).verdict is Verdict.PASS
    assert judge_run(run(60), evidence(60, vram_peak_mib=81_000.0), vram).verdict is Verdict.FAIL


def test_barge_in_needs_barge_in_turns() -> None:
    """A limit on a metric that no turn measured leaves no verdict."""
    budget = Budget(name="b", limits=(Limit(metric="barge_in_stop_ms", at_most=250),))
    assert judge_run(run(60), evidence(60), budget).verdict is Verdict.INVALID


@settings(max_examples=60, deadline=None)
@given(st.integers(59, 400), st.data())
def test_gate_is_the_exact_bound(n: int, data: st.DataObject) -> None:
    """PASS is the same statement as: the exact upper bound on p95 is within the budget."""
    over = data.draw(st.integers(0, 30))
    gaps = [600.0] * over + [400.0] * (n - over)
    bound = stats.quantile_upper(gaps)
    held = judge_limit(EDGE.limits[0], [turn(i, gap) for i, gap in enumerate(gaps)], evidence(n))
    assert (held.state is LimitState.WITHIN) is (bound is not None and bound <= 500)


def test_a_lost_transcript_is_no_understanding() -> None:
    """An answered turn whose words were lost counts them as missed: the worst ones lose their spans first."""
    wer = Budget(name="b", limits=(Limit(metric="wer", at_most=0.05),))
    turns = run(100)
    turns[3] = turn(3, word_errors=None, wer=None, transcript=None)
    judged = judge_run(turns, evidence(100), wer)
    assert judged.verdict is Verdict.PASS
    assert "word error rate 1.0%, at most 4.7%" in judged.sentence
    assert "100 turns, 1 of them without a transcript" in judged.sentence
    turns[5] = turn(5, word_errors=None, wer=None, transcript=None)
    assert judge_run(turns, evidence(100), wer).verdict is Verdict.NOT_SHOWN


def test_a_spoilt_turn_adds_no_words() -> None:
    """What the instrument spoilt says nothing of the agent's ears."""
    wer = Budget(name="b", limits=(Limit(metric="wer", at_most=0.05),))
    turns = [*run(99), turn(99, 400, Outcome.INVALID, word_errors=2)]
    assert judge_run(turns, evidence(100), wer).verdict is Verdict.PASS


def test_rates_are_judged_twice_too() -> None:
    """A spoilt turn may have been a cut-off: where that matters, there is no verdict."""
    budget = Budget(name="b", limits=(Limit(metric="cut_off_rate", at_most=0.03),))
    assert judge_run(run(190), evidence(190), budget).verdict is Verdict.PASS
    judged = judge_run(run(190, invalid=3), evidence(190), budget)
    assert judged.verdict is Verdict.INVALID
    assert "cut-offs depends on 3 invalid turns" in judged.sentence


def test_dry_playout_counts_however_short_and_whatever_the_outcome() -> None:
    """The gate counts what `run.json` counts."""
    budget = Budget(name="b", limits=(Limit(metric="underrun_rate", at_most=0.05),))
    sound = [turn(i, reply_ms=900.0) for i in range(100)]
    assert judge_run(sound, evidence(100), budget).verdict is Verdict.PASS
    dry = [turn(i, reply_ms=900.0, underruns_ms=(40.0,) if i < 20 else ()) for i in range(100)]
    assert judge_run(dry, evidence(100), budget).verdict is Verdict.FAIL
    assert summary.compute_figures(dry)["underrun_rate"].events == 20


def test_the_sentinel_must_have_watched() -> None:
    """A verdict needs its measurement beside nine of ten turns, and every answer measured."""
    assert judge_run(run(60), evidence(60, sentinel_watched=0.95), EDGE).verdict is Verdict.PASS
    for changes in ({"sentinel_watched": 0.5}, {"sentinel_watched": 1.0, "sentinel_missed": 1}):
        judged = judge_run(run(60), evidence(60, **changes), EDGE)
        assert judged.verdict is Verdict.INVALID
        assert "the sentinel measured during" in judged.sentence
    assert judge_run(run(60), evidence(60, sentinel_watched=0.5)).verdict is Verdict.MEASURED


def test_the_sentinels_share_is_not_judged_in_a_short_run() -> None:
    """With fewer than ten turns a single one decides it: no warning and no advice; missed answers still warn."""
    for turns, missed, warned in ((3, 0, False), (9, 0, False), (10, 0, True), (3, 1, True)):
        judged = judge_run(run(turns), evidence(turns, sentinel_watched=0.75, sentinel_missed=missed))
        (check,) = (check for check in judged.checks if check.name == "sentinel's watch")
        assert (check.warning, check.ok) == (warned, None)


def test_the_measured_sentence_says_the_figures_median() -> None:
    """A turn that was not answered as it should be is later than any other, in words as in figures."""
    turns = [turn(0, 300.0), turn(1, 400.0), turn(2, 100.0, Outcome.WRONG), turn(3, 100.0, Outcome.BROKEN)]
    figures = summary.compute_figures(turns)["turn_gap_ms"]
    sentence = judge_run(turns, evidence(4)).sentence
    assert ("median" in sentence) == (figures.p50 is not None)


def test_the_measured_sentence_states_turn_gap_and_perceived_gap() -> None:
    """Both medians, each by its name, so that no figure of the report contradicts the headline."""
    sentence = judge_run([turn(0), turn(1)], evidence(2)).sentence
    assert "median turn gap 400 ms (495 ms as the caller hears it)" in sentence


def test_one_turn_too_few_for_one_limit_is_one_sentence() -> None:
    """58 replies for an underrun limit of 5 %: one more turn is needed, for which limit is stated."""
    budget = Budget(name="b", limits=(Limit(metric="underrun_rate", at_most=0.05),))
    turns = [turn(i, reply_ms=900.0 if i else None) for i in range(59)]
    judged = judge_run(turns, evidence(59), budget)
    assert judged.sentence == "No verdict on b: one more turn is needed for the underrun limit."


def test_a_verdict_says_at_which_load() -> None:
    """A gate holds for as many simultaneous calls as the run had."""
    assert "with one call at a time" in judge_run(run(59), evidence(59), EDGE).sentence
    assert "with 4 calls at once" in judge_run(run(59, 1), evidence(59, simultaneous_calls=4), EDGE).sentence


def test_without_a_budget_trouble_is_a_warning() -> None:
    """A loaded machine, drift or our own lateness are reported; what only a bound needs is not."""
    judged = judge_run([turn(i, utterance_id="u") for i in range(3)], evidence(3, foreign_cpu_share=0.4))
    assert {check.name for check in judged.checks if check.warning} == {"foreign load"}
    assert not any(check.warning for check in judge_run(run(60), evidence(60, foreign_cpu_share=0.4), EDGE).checks)


def test_an_unanswered_silence_went_as_it_should() -> None:
    """The sentence of a run with such turns does not speak of answers."""
    turns = [turn(0), turn(1, None, Outcome.HELD, expectation="wait")]
    sentence = judge_run(turns, evidence(2)).sentence
    assert sentence.endswith("2 of 2 turns went as they should.")


@pytest.mark.parametrize(
    ("invalid", "ending"),
    [
        (1, "2 of 2 turns were answered as they should be; 1 more is invalid."),
        (3, "2 of 2 turns were answered as they should be; 3 more are invalid."),
    ],
)
def test_an_invalid_turn_is_neither_well_nor_badly_answered(invalid: int, ending: str) -> None:
    """It is counted apart: nothing is known of it."""
    turns = [turn(0), turn(1), *(turn(2 + n, outcome=Outcome.INVALID) for n in range(invalid))]
    assert judge_run(turns, evidence(len(turns))).sentence.endswith(ending)


def test_stolen_time_is_reported_and_decides_nothing() -> None:
    """Over 1 % it is a warning: what it did to the turns is judged by their own lateness."""
    judged = judge_run(run(60), evidence(60, stolen_cpu_share=0.03), EDGE)
    (stolen,) = [check for check in judged.checks if check.name == "stolen time"]
    assert (judged.verdict, stolen.ok, stolen.warning) == (Verdict.PASS, None, True)
    assert "3.0%" in stolen.text
    (quiet,) = [
        c for c in judge_run(run(60), evidence(60, stolen_cpu_share=0.0), EDGE).checks if c.name == "stolen time"
    ]
    assert quiet.ok


@pytest.mark.parametrize(
    ("n", "words"),
    [(1, "1 of 1 turn was answered as it should be."), (2, "2 of 2 turns were answered as they should be.")],
)
def test_one_turn_is_singular(n: int, words: str) -> None:
    """The sentence of a run without a budget counts its turns in grammar."""
    assert judge_run([turn(index) for index in range(n)], evidence(n)).sentence.endswith(words)


@pytest.mark.parametrize("outcomes", [(Outcome.MISSED,) * 3, (Outcome.MISSED, Outcome.FAILED), (Outcome.FAILED,)])
def test_an_agent_that_answers_nothing_is_not_measured(outcomes: tuple[Outcome, ...]) -> None:
    """INVALID, with the outcomes and what to look at; the exit code is no success."""
    turns = [turn(index, None, outcome, detail="no answer") for index, outcome in enumerate(outcomes)]
    judged = judge_run(turns, evidence(len(turns)))
    assert (judged.verdict, judged.verdict.exit_code) == (Verdict.INVALID, 2)
    which = "the 1 turn was not" if len(turns) == 1 else f"none of the {len(turns)} turns was"
    assert judged.sentence.startswith(f"No result: {which} answered (")
    assert "agent.log in the run folder" in judged.reasons[0]
    assert "no answer" in judged.reasons[0]
    assert [check.ok for check in judged.checks if check.name == "answers"] == [False]


def test_the_hint_fits_the_agent() -> None:
    """No log is named where turngap has none; an agent that sent sound is not told to send some."""
    silent = turn(0, None, Outcome.MISSED)
    (reason,) = judge_run([silent], evidence(1, external_agent=True)).reasons
    assert "agent.log" not in reason
    assert "check that it sends audio back" in reason
    (reason,) = judge_run([turn(0, None, Outcome.MISSED, first_byte_ms=20)], evidence(1)).reasons
    assert "check that it sends audio back" not in reason
    assert "calls/" in reason


def test_a_run_without_a_good_answer_says_why_it_has_no_figures() -> None:
    """Measured, exit 0, with a warning that names the outcomes; with one good answer there is none."""
    bad = [turn(0, outcome=Outcome.TRUNCATED), turn(1, outcome=Outcome.WRONG), turn(2, outcome=Outcome.TRUNCATED)]
    judged = judge_run(bad, evidence(3))
    assert (judged.verdict, judged.verdict.exit_code) == (Verdict.MEASURED, 0)
    (check,) = [check for check in judged.checks if check.name == "answers"]
    assert (check.ok, check.warning) == (None, True)
    assert "2 truncated, 1 wrong" in check.text
    assert "`scripted`" in check.text
    assert "measured" not in judged.sentence.lower()
    assert not any(check.name == "answers" for check in judge_run([*bad, turn(3)], evidence(4)).checks)


def test_one_answer_or_a_cut_off_is_a_measurement() -> None:
    """An agent that speaks at the wrong time has been heard; one that rightly says nothing has done as it should."""
    silent = turn(0, None, Outcome.MISSED)
    for other in (turn(1), turn(1, None, Outcome.CUT_OFF)):
        assert judge_run([silent, other], evidence(2)).verdict is Verdict.MEASURED
    held = turn(0, None, Outcome.HELD, expectation="wait")
    assert judge_run([held], evidence(1)).verdict is Verdict.MEASURED


def test_lost_spans_are_not_blamed_where_none_ever_came() -> None:
    """For an agent without spans the check names the budget it can pass."""
    turns = [turn(index, stages=None, transcript=None, wer=None, word_errors=None) for index in range(59)]
    held = judge_limit(Limit(metric="wer", at_most=0.05), turns, evidence(59))
    assert held.state is LimitState.NOT_JUDGED
    assert "edge500-audio" in held.remedy
    assert "lost their spans" not in held.remedy
    some = [turn(99), *turns]
    assert "lost their spans" in judge_limit(Limit(metric="wer", at_most=0.05), some, evidence(60)).remedy


_MIX = random.Random(3)
MIXED = [_MIX.uniform(400, 430) for _ in range(190)]
"""Gaps in no order."""
FILLED = Budget(
    name="filled",
    limits=(Limit(metric="turn_gap_ms", at_most=500), Limit(metric="substance_gap_ms", at_most=500)),
)
WORDS = Budget(
    name="words",
    limits=(Limit(metric="substance_gap_ms", at_most=500), Limit(metric="wer", at_most=0.05)),
)
NO_SPANS = {"stages": None, "transcript": None, "wer": None, "word_errors": None, "words": None, "attempts": None}
UNKNOWN = {"substance_gap_ms": None, "perceived_substance_ms": None, "substance_from": ""}


def evidence_of(turns: list[TurnRecord]) -> Evidence:
    return Evidence(planned_turns=len(turns), complete=True, calibration_bias_ms=0.1, sentinel_bias_ms=0.1)


def test_a_filler_within_the_limit_does_not_answer_for_the_content() -> None:
    """The gap is 50 ms in every turn, the content 3 s later: FAIL, by the limit on substance."""
    turns = [turn(n, MIXED[n] - 350, substance_gap_ms=3050.0, contentless="um,") for n in range(190)]
    judgement = judge_run(turns, evidence_of(turns), FILLED)
    assert judgement.verdict is Verdict.FAIL
    assert "p95 of substance gap" in judgement.sentence


def test_an_agent_whose_replies_are_unknown_never_passes() -> None:
    """No spans and no recogniser: INVALID, with what to install, and every limit that could not be judged."""
    why = {"substance_note": "faster-whisper is not installed: pip install 'turngap[cpu]'"}
    turns = [turn(n, MIXED[n], **NO_SPANS, **UNKNOWN, **why) for n in range(190)]
    judgement = judge_run(turns, evidence_of(turns), WORDS)
    assert judgement.verdict is Verdict.INVALID
    assert any("pip install 'turngap[cpu]'" in reason for reason in judgement.reasons)
    assert any("word error rate" in reason for reason in judgement.reasons)


def test_an_agent_without_spans_passes_if_its_replies_were_transcribed() -> None:
    """The sentence says which limits were not judged."""
    turns = [turn(n, MIXED[n], **NO_SPANS, substance_from="transcript") for n in range(190)]
    judgement = judge_run(turns, evidence_of(turns), WORDS)
    assert judgement.verdict is Verdict.PASS
    assert "Not judged, because the agent sends no spans: the word error rate" in judgement.sentence
    alone = Budget(name="alone", limits=(Limit(metric="wer", at_most=0.05),))
    assert judge_run(turns, evidence_of(turns), alone).verdict is Verdict.INVALID


def test_an_agent_that_lost_its_transcripts_is_not_excused() -> None:
    """It sends spans, so the words could have been known: what has none counts as missed words."""
    turns = [turn(n, MIXED[n], transcript=None, wer=None, word_errors=None) for n in range(190)]
    assert judge_run(turns, evidence_of(turns), WORDS).verdict is not Verdict.PASS


def test_the_sentinels_spread_is_judged_not_its_median_alone() -> None:
    """48 % of its answers 80 ms late leave its median at 0, and no verdict; one of 40 is within what is allowed."""
    half = evidence(190, sentinel_bias_ms=0.1, sentinel_samples=200, sentinel_over_share=0.48, sentinel_p99_ms=80.0)
    judged = judge_run(run(190), half, EDGE)
    assert judged.verdict is Verdict.INVALID
    assert "48.0% of 200 sentinel answers were off by more than 5 ms (99th percentile 80.0 ms)" in judged.sentence
    assert judge_run(run(190), half).verdict is Verdict.MEASURED
    few = evidence(190, sentinel_samples=40, sentinel_over_share=0.025)
    assert judge_run(run(190), few, EDGE).verdict is Verdict.PASS
    short = evidence(60, sentinel_samples=8, sentinel_over_share=0.25)
    (check,) = [check for check in judge_run(run(60), short).checks if check.name == "sentinel's spread"]
    assert (check.ok, check.warning) == (None, False)


def late_turns(late: set[int], n: int = 190, gap_ms: float = 700.0) -> list[TurnRecord]:
    """n turns around 400 ms in no order, those of `late` over the budget."""
    return [turn(i, gap_ms if i in late else 380.0 + (i * 7919) % 41) for i in range(n)]


def test_misses_in_a_row_are_no_independent_turns() -> None:
    """Three of 190 in a row: INVALID, though three apart pass."""
    assert judge_run(late_turns({20, 90, 150}), evidence(190), EDGE).verdict is Verdict.PASS
    judged = judge_run(late_turns({90, 91, 92}), evidence(190), EDGE)
    assert judged.verdict is Verdict.INVALID
    assert "3 of 190 turns over a limit, at most 3 in a row" in judged.sentence
    assert judge_run(late_turns({90, 91, 92}), evidence(190)).verdict is Verdict.MEASURED


def test_bad_outcomes_in_a_row_count_as_misses() -> None:
    """However fast they were."""
    turns = late_turns(set())
    for place in (50, 51, 52):
        turns[place] = turn(place, 100.0, Outcome.WRONG)
    assert "in a row" in judge_run(turns, evidence(190), EDGE).sentence


def test_a_slow_stretch_leaves_no_verdict() -> None:
    """28 turns 90 ms slower than the others, all within the budget: one p95 does not describe the run."""
    turns = late_turns(set(range(80, 108)), gap_ms=490.0)
    judged = judge_run(turns, evidence(190), EDGE)
    assert judged.verdict is Verdict.INVALID
    failed = {check.name for check in judged.checks if check.ok is False}
    assert failed == {"autocorrelation", "stretches"}


def test_autocorrelation_is_printed_with_its_interval_and_ignored_where_it_is_small() -> None:
    """Gaps that follow each other within 3 ms change no verdict."""
    turns = [turn(i, 400.0 + 3 * ((i // 20) % 2)) for i in range(190)]
    judged = judge_run(turns, evidence(190), EDGE)
    assert judged.verdict is Verdict.PASS
    (check,) = [check for check in judged.checks if check.name == "autocorrelation"]
    assert "a gap's correlation with the next is +0.9" in check.text


def test_a_run_stopped_early_needs_no_59_turns() -> None:
    """What was planned counts: a run that was decided after 5 of 190 turns is FAIL, not short of turns."""
    known = evidence(190, stopped_early="decided after 5 of 190 planned turns")
    turns = [turn(i, 900.0 + (i * 7919) % 41) for i in range(5)]
    assert judge_run(turns, known, EDGE).verdict is Verdict.FAIL


def test_an_own_list_of_openings_is_a_warning_beside_the_verdict() -> None:
    """The author of a scenario may define what is no content; the verdict's reader sees it, and it decides nothing."""
    turns = [turn(n, MIXED[n]) for n in range(190)]
    shipped, own = (judge_run(turns, replace(evidence_of(turns), own_openings=own), FILLED) for own in (False, True))
    assert own.verdict is shipped.verdict
    (check,) = (check for check in own.checks if check.name == "openings")
    assert (check.ok, check.warning, check.text) == (None, True, OWN_OPENINGS)
    assert all(check.name != "openings" for check in shipped.checks)


@pytest.mark.parametrize("first_scored", [True, False])
def test_noise_passes_no_budget(first_scored: bool) -> None:
    """Also where a call's findings are on a first turn that is not scored: a lead-in."""
    noise = (Finding(kind=FindingKind.LINEAR_PCM, count=3),)
    turns = [turn(index) for index in range(100)]
    spoilt = {"findings": noise} if first_scored else {}
    for index in range(20):
        turns[index] = turn(index, turn=int(not first_scored), **spoilt)
    lead_ins = [turn(index, scored=False, findings=noise) for index in range(20)] if not first_scored else []
    judged = judge_run([*lead_ins, *turns], evidence(100), EDGE)
    assert judged.verdict is Verdict.INVALID
    assert "16-bit linear PCM was sent" in judged.sentence
    alone = [turn(1000 + index, scored=False, findings=noise) for index in range(20)]
    clean = judge_run([*alone, *(turn(index) for index in range(100))], evidence(100), EDGE)
    assert clean.verdict is Verdict.PASS, "calls without a scored turn do not count"
