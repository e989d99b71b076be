"""Whether the GPU was the agent's alone, and as fast as it is: otherwise a run is INVALID, with a budget or without."""

from __future__ import annotations

from typing import Any

import pytest
from turngap.model.agent_figures import GpuWatch
from turngap.model.result import Check, Verdict
from turngap.verdict import gate, gpu
from turngap.verdict.gate import Evidence

from tests.harness import report_builders as make


def checks(**changes: Any) -> tuple[Check, Check]:
    """Of 100 turns on a machine that tells all; `changes` make it worse."""
    watch = {"turns": 100, "watched_turns": 100, "known_turns": 100, "foreign_turns": 0, "before_mib": 4.0}
    foreign, held = gpu.gpu_checks(GpuWatch.model_validate(watch | {"sees_all": True} | changes))
    return foreign, held


def test_an_idle_gpu_of_ones_own_holds() -> None:
    """Both entries are good."""
    assert [check.ok for check in checks()] == [True, True]


def test_a_foreign_process_beside_a_turn_is_invalid() -> None:
    """Named, with the remedy; no more than three by name."""
    foreign, _ = checks(foreign_turns=3, foreign=("7 python", "8 a", "9 b", "10 c"))
    assert foreign.ok is False
    assert "7 python, 8 a, 9 b and 1 more" in foreign.text
    assert "3 of 100 turns" in foreign.text
    assert "gpu.device" in foreign.text


def test_a_language_model_that_the_run_did_not_start_is_a_warning() -> None:
    """It may be the listed process, or earlier use; the two cannot be distinguished."""
    for seen in ({"foreign_turns": 3, "foreign": ("7 vllm",)}, {"known_turns": 0, "before_mib": 900.0}):
        foreign, _ = checks(external_llm=True, **seen)
        assert (foreign.ok, foreign.warning) == (None, True)
        assert "llm.url" in foreign.text


@pytest.mark.parametrize("unknown", [{"known_turns": 0}, {"sees_all": False}])
@pytest.mark.parametrize(("before", "ok"), [(4.0, True), (900.0, False), (None, None)])
def test_where_processes_are_hidden_the_memory_before_decides(
    unknown: dict[str, Any], before: float | None, ok: bool | None
) -> None:
    """Not available, or a container's list: reported, and the use before the agent started counts instead."""
    foreign, _ = checks(before_mib=before, **unknown)
    assert foreign.ok is ok
    assert ("NVML" if "known_turns" in unknown else "container") in foreign.text


def test_a_reading_that_failed_is_no_container() -> None:
    """The list is that of the whole machine, but for one turn it could not be read."""
    foreign, _ = checks(before_mib=4.0, known_turns=99)
    assert "1 of 100 turns" in foreign.text
    assert "container" not in foreign.text


@pytest.mark.parametrize("reason", ["hw_slowdown", "sw_thermal", "hw_thermal", "hw_power_brake"])
def test_a_gpu_that_was_held_back_is_invalid(reason: str) -> None:
    """By heat, or by the power that the server can give."""
    _, held = checks(held_back={reason: 2})
    assert held.ok is False
    assert "in 2 of 100 turns" in held.text


def test_the_cards_own_power_limit_is_stated_and_decides_nothing() -> None:
    """A card under full load is at it in production too."""
    _, held = checks(power_capped_turns=40)
    assert (held.ok, held.warning) == (None, True)


def test_too_few_samples_tell_nothing_good() -> None:
    """What they show of trouble counts nevertheless."""
    assert [(check.ok, check.warning) for check in checks(watched_turns=10, known_turns=10)] == [(None, True)] * 2
    gpu_checks = gpu.gpu_checks(GpuWatch(turns=100, watched_turns=10, known_turns=10, foreign_turns=1, sees_all=True))
    assert [check.ok for check in gpu_checks] == [False]


def test_the_gate_is_invalid_without_a_budget_too() -> None:
    """The figures are another's as well as the agent's."""
    watch = GpuWatch(turns=3, watched_turns=3, known_turns=3, foreign_turns=1, sees_all=True)
    evidence = Evidence(planned_turns=3, complete=True, gpu=watch)
    judged = gate.judge_run([make.turn(index) for index in range(3)], evidence)
    assert judged.verdict is Verdict.INVALID
    assert "another process was on the GPU" in judged.sentence


def test_an_agent_without_a_gpu_has_no_gpu_check() -> None:
    """No entry at all."""
    judged = gate.judge_run([make.turn(0)], Evidence(planned_turns=1, complete=True))
    assert "GPU" not in " ".join(check.name for check in judged.checks)
