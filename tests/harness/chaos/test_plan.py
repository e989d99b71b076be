"""Which faults are injected: every one of a profile's stages, or those that were asked for."""

from __future__ import annotations

import pytest
from turngap.chaos.plan import list_faults, list_stages, parse_filter, plan_chaos
from turngap_agent import profile as profiles
from turngap_agent.errors import UsageError
from turngap_agent.telephony.faults import FaultKind, FaultStage, Moment

SCRIPTED = profiles.load("scripted")
WITH_TURN_MODEL = profiles.load("scripted", ("endpointing.policy=speculative",))


def test_every_stage_has_every_fault_at_every_moment():
    """Each once, and each from the first word on for the whole call; a stage without a process cannot be killed."""
    faults = list_faults(list_stages(WITH_TURN_MODEL))
    assert len(set(faults)) == len(faults)
    assert {fault.stage for fault in faults} == set(FaultStage)
    per_stage = {stage: [fault for fault in faults if fault.stage is stage] for stage in FaultStage}
    assert {fault.kind for fault in per_stage[FaultStage.STT]} == set(FaultKind) - {FaultKind.KILL}
    assert {fault.kind for fault in per_stage[FaultStage.SENDING]} == set(FaultKind) - {FaultKind.KILL, FaultKind.STUCK}
    for kind in {fault.kind for fault in per_stage[FaultStage.LLM]}:
        once = {fault.moment for fault in per_stage[FaultStage.LLM] if fault.kind is kind and not fault.always}
        always = [fault.moment for fault in per_stage[FaultStage.LLM] if fault.kind is kind and fault.always]
        assert (once, always) == (set(Moment), [Moment.FIRST_WORD])


def test_an_engine_with_a_process_of_its_own_can_be_killed():
    """As vLLM, which the agent starts as a process, and whatever the profile moves into one."""
    moved = list_stages(profiles.load("scripted", ("stt.own_process=true",)))
    assert {fault.stage for fault in list_faults(moved) if fault.kind is FaultKind.KILL} == {FaultStage.STT}
    stages = list_stages(profiles.load("weightless"))
    assert stages[FaultStage.LLM]
    assert {fault.stage for fault in list_faults(stages) if fault.kind is FaultKind.KILL} == {FaultStage.LLM}


def test_the_seed_decides_which_faults_are_tried():
    """The same seed, the same faults in the same order; another one, others; all of them are tried without --calls."""
    one, again, other = (plan_chaos(SCRIPTED, seed=seed, calls=8).faults for seed in (1, 1, 2))
    assert one == again != other
    assert len(one) == 8
    assert set(plan_chaos(SCRIPTED).faults) == set(list_faults(list_stages(SCRIPTED)))


def test_a_filter_takes_what_has_all_of_its_words():
    """Several filters take what either takes; agents are no more than faults."""
    plan = plan_chaos(SCRIPTED, only=["stt/raise", "llm hang always"], agents=9)
    assert {(fault.stage.value, fault.kind.value) for fault in plan.faults} == {("stt", "raise"), ("llm", "hang")}
    assert len(plan.faults) == 5
    assert plan.agents == 5


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"only": ["llmm"]}, "did you mean 'llm'?"),
        ({"only": [""]}, "no stage, fault or moment"),
        ({"only": ["turn"]}, "--set endpointing.policy=speculative"),
        ({"only": ["stt/kill"]}, "--set SECTION.own_process=true"),
        ({"only": ["sending/stuck"]}, "no fault is all of that"),
        ({"only": ["stt/llm"]}, "no fault is all of that"),
        ({"calls": 0}, "--calls 0"),
        ({"agents": 0}, "--agents 0"),
    ],
)
def test_what_does_not_fit_is_refused(options, part):
    """One line that says what is wrong and what there is."""
    with pytest.raises(UsageError) as refused:
        plan_chaos(SCRIPTED, **options)
    assert refused.value.code == "usage.chaos"
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_filter_is_read_by_its_words():
    """Slashes and spaces are the same."""
    assert parse_filter("stt/raise mid-reply") == ("stt", "raise", "mid-reply")
