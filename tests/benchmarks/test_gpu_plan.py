"""Engines are compiled before the clock starts; what does not fit into the time is replaced by what does, and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu, gpu_plan, gpu_steps
from benchmarks.gpu import GpuMeasurement
from benchmarks.gpu_machine import Card
from benchmarks.gpu_plan import GRAPHS, Preparation, TurnsPlan, plan_turns
from benchmarks.gpu_process import EndedStep
from benchmarks.gpu_steps import StepOptions

RECORD = {
    "run_id": "run",
    "profile": "weightless-hf",
    "verdict": "FAIL",
    "sentence": "FAIL.",
    "n_turns": 59,
    "turn_gap_ms": {"p50": 500.0, "p95": 600.0, "p95_upper": None},
    "perceived_gap_ms": {"p50": 595.0, "p95": 695.0, "p95_upper": None},
    "stages": {},
    "notes": [],
    "agent": {"models": {}, "memory_mib": {"llm": 60_000.0}},
    "gpus": [{"used_before_mib": 500.0, "used_peak_mib": 61_000.0, "total_mib": 143_000.0}],
}


class FakeMachine:
    """A clock, and processes that take set times: a second preparation is as fast as its cache makes it."""

    def __init__(self, prepare_s: float, run_s: float) -> None:
        self.now_s = 1000.0
        self.prepare_s, self.run_s = prepare_s, run_s
        self.commands: list[list[str]] = []

    def clock(self) -> float:
        return self.now_s

    def run(self, command: list[str], most_s: float, log: Path) -> EndedStep:
        """Take the time; a process that would take more than `most_s` is ended."""
        self.commands.append(command)
        preparing = "benchmarks.gpu_prepare" in command
        took_s = self.prepare_s if preparing else self.run_s
        self.now_s += min(took_s, most_s)
        if took_s > most_s:
            return EndedStep(None, "", "compiling")
        return EndedStep(0, json.dumps({"load_s": took_s, "models": {}} if preparing else RECORD), "")

    def measure(self, folder: Path, **changes: Any) -> dict[str, Any]:
        """Run turns and memory on a card without a name; return the result."""
        folder.mkdir(exist_ok=True)
        options = StepOptions(folder, tiny=False, profile="weightless-hf", turns=gpu_plan.TURNS, overrides=())
        measurement = GpuMeasurement(
            Card("X", {}),
            options,
            ("turns", "memory"),
            600.0,
            {"card": "X", "caveat": "random weights", "machine": {}, "steps": []},
            clock=self.clock,
            run_process=self.run,
            missing=lambda _: None,
            **changes,
        )
        self.exit_code = measurement.run()
        return {step["name"]: step for step in json.loads((folder / "gpu.json").read_text())["steps"]}

    @property
    def turns_command(self) -> list[str]:
        return next(command for command in self.commands if "turngap" in command)


def test_compiling_is_not_counted_in_the_limit(tmp_path: Path) -> None:
    """Engines that take eight minutes to compile leave the whole limit to the measurement."""
    machine = FakeMachine(prepare_s=480.0, run_s=330.0)
    steps = machine.measure(tmp_path)
    assert [steps[name]["outcome"] for name in ("prepare", "turns", "memory")] == ["done"] * 3
    assert machine.exit_code == 0
    assert json.loads((tmp_path / "gpu.json").read_text())["took_s"] == 330.0
    assert "--set" not in machine.turns_command


def test_a_compiler_that_takes_too_long_leaves_graphs_and_fewer_turns(tmp_path: Path) -> None:
    """The turns run on captured graphs with 59 turns, the report says so, and it is no failure."""
    machine = FakeMachine(prepare_s=700.0, run_s=330.0)
    steps = machine.measure(tmp_path)
    assert steps["prepare"]["outcome"] == "timed out"
    command = machine.turns_command
    assert command[command.index("--turns") + 1] == "59"
    assert command[command.index("--set") + 1] == GRAPHS
    assert machine.exit_code == 0
    said = " ".join(steps["turns"]["notes"])
    assert "captured graphs" in said
    assert "59 turns instead of 93" in said
    assert "captured graphs" in (tmp_path / f"{tmp_path.name}.md").read_text()


def test_without_preparing_the_turns_do_not_compile(tmp_path: Path) -> None:
    """`--prepare-s 0`: nothing is loaded beforehand, so nothing may compile inside the limit."""
    machine = FakeMachine(prepare_s=1.0, run_s=330.0)
    steps = machine.measure(tmp_path, prepare_s=0.0)
    assert [steps["prepare"]["outcome"], len(machine.commands)] == ["skipped", 1]
    assert GRAPHS in machine.turns_command


@pytest.mark.parametrize(("load_s", "left_s", "turns"), [(60.0, 520.0, 93), (250.0, 520.0, 59), (60.0, 300.0, 59)])
def test_as_many_turns_are_scored_as_fit(load_s: float, left_s: float, turns: int) -> None:
    """Loading and calls fit into the time, or 59 turns are scored and the report gives the arithmetic."""
    plan = plan_turns(Preparation(load_s), left_s)
    assert plan.turns == turns
    assert bool(plan.notes) == (turns == 59)
    assert plan.overrides == ()


def test_what_was_requested_stays() -> None:
    """Turns and mode of the command line are not changed; what will not fit is said."""
    late = Preparation(None, "timed out")
    assert plan_turns(late, 500.0, requested=120, overrides=("tts.mode=compiled",)).turns == 120
    assert plan_turns(late, 500.0, overrides=("tts.mode=compiled",)).overrides == ()
    assert plan_turns(Preparation(60.0), 520.0, requested=59) == TurnsPlan(59)
    assert plan_turns(Preparation(60.0), 300.0, requested=93).notes[0].startswith("93 turns need about")


def test_a_limit_moves_every_step_with_it(tmp_path: Path) -> None:
    """CSM may take all that is left, the turns leave it an eighth, whatever the limit is."""
    options = StepOptions(tmp_path, False, "weightless-hf", 93, ())
    for limit_s in (300.0, 600.0, 1200.0):
        measurement = GpuMeasurement(Card("X", {}), options, (), limit_s, {}, clock=lambda: 0.0)
        left_s = {step.name: measurement._left_s(step) for step in gpu_steps.STEPS}
        assert left_s["csm"] == limit_s
        assert left_s["turns"] == pytest.approx(0.87 * limit_s)
    assert gpu.LIMIT_S == 600.0


def test_stages_are_measured_one_by_one_and_what_failed_is_said() -> None:
    """The step is invalid only where no stage was measured; what a killed process had printed counts."""
    step = next(one for one in gpu_steps.STEPS if one.name == "stages")
    options = gpu_steps.StepOptions(Path(), False, "weightless-hf", 93, ("tts.slots=1",))
    assert step.command(options, 100)[-4:] == ["weightless-hf", "90", "tts,stt,llm", "tts.slots=1"]
    measured = {"distance_to_floor": 2.5, "first_output_ms": {"p50": 31.4}}
    lines = [{"tts": measured}, {"tts": measured, "stt": {"error": "it took longer than 40 s"}}]
    result = step.read(options, "\n".join(json.dumps(line) for line in lines))
    assert result.text == (
        "tts: first output 31.4 ms at p50, 2.5 times the floor; stt: not measured (it took longer than 40 s)"
    )
    assert not result.invalid
    assert step.read(options, json.dumps({"tts": {"error": "no"}})).invalid
