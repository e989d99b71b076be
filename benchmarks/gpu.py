"""Measures this machine's GPU in ten minutes (calibration, weightless turns, stages, CSM, memory); writes a report.

    python -m benchmarks.gpu

from the project's root. Each step is its own process: a step that fails, or whose packages are missing, does not stop
the others. Everything is written to results/gpu/CARD/. Starting it needs only Python.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import gpu_machine, gpu_plan, gpu_report, gpu_steps
from benchmarks.gpu_machine import Card
from benchmarks.gpu_plan import TINY_TURNS, TURNS, Preparation
from benchmarks.gpu_process import EndedStep, run_step
from benchmarks.gpu_steps import MEMORY, STEPS, WEIGHTLESS, GpuStep, StepOptions, StepResult

SCHEMA = 2
"""2: the step `prepare`, and `notes` of a step."""
LIMIT_S = 600.0
PREPARE_S = 600.0
NAMES = (*(step.name for step in STEPS), MEMORY)
BAD = ("failed", "invalid", "timed out", "interrupted")
Outcome = tuple[str, float, str, dict[str, Any]]
"""Of a step: outcome, seconds, summary and figures."""


@dataclass(slots=True)
class GpuMeasurement:
    """The current measurement; its result is written after each step."""

    card: Card
    step_options: StepOptions
    only: tuple[str, ...]
    limit_s: float
    result: dict[str, Any]
    prepare_s: float = PREPARE_S
    requested_turns: int | None = None
    clock: Callable[[], float] = time.monotonic
    run_process: Callable[[list[str], float, Path], EndedStep] = run_step
    missing: Callable[[tuple[str, ...]], str | None] = gpu_machine.missing
    began_s: float = field(init=False, default=0.0)
    notes: tuple[str, ...] = field(init=False, default=())
    """What was changed of the current step, and why."""

    def run(self) -> int:
        """Run all steps; return the exit code."""
        try:
            self.began_s = self.clock()
            preparation = self._prepare()
            self.began_s = self.clock()  # only now the clock starts
            for step in STEPS:
                if step.name == "turns" and step.name in self.only:
                    self._plan_turns(preparation, step)
                self._record(step.name, *self._run_step(step))
            self._record(MEMORY, *self._memory())
        except KeyboardInterrupt:
            self._print("interrupted; the results so far are kept")
            self.result["interrupted"] = True
            self._write()
            return 2
        measured = [step for step in self.result["steps"] if step["name"] != gpu_steps.PREPARE.name]
        return 1 if any(step["outcome"] in BAD for step in measured) else 0

    def _prepare(self) -> Preparation:
        """Load the engines of the turns once, with a time limit of its own."""
        step = gpu_steps.PREPARE
        if "turns" not in self.only:
            return Preparation(None, "no turns are measured")
        if self.prepare_s <= 0:
            outcome: Outcome = ("skipped", 0.0, "--prepare-s 0", {})
        else:
            outcome = self._run_within(step, self.prepare_s)
        self._record(step.name, *outcome)
        load_s = outcome[3].get("load_s") if outcome[0] == "done" else None
        return Preparation(load_s, f"{outcome[0]}: {outcome[2]}")

    def _plan_turns(self, preparation: Preparation, step: GpuStep) -> None:
        """Choose turns and mode for the time that is left, and say what was changed."""
        if self.step_options.tiny:
            return
        options = self.step_options
        plan = gpu_plan.plan_turns(preparation, self._left_s(step), self.requested_turns, options.overrides)
        self.step_options = replace(options, turns=plan.turns, overrides=(*options.overrides, *plan.overrides))
        self.notes = plan.notes
        for note in plan.notes:
            self._print(f"turns: {note}")

    def _left_s(self, step: GpuStep) -> float:
        return min(step.share * self.limit_s, self.limit_s - (self.clock() - self.began_s))

    def _run_step(self, step: GpuStep) -> Outcome:
        if step.name not in self.only:
            return "skipped", 0.0, "not in --only", {}
        return self._run_within(step, self._left_s(step))

    def _run_within(self, step: GpuStep, left_s: float) -> Outcome:
        began_s = self.clock()
        if (why := self.missing(step.modules)) is not None:
            return "missing", self.clock() - began_s, f"{why}; {step.remedy}", {}
        self._print(f"{step.name} …")
        left_s -= self.clock() - began_s
        if left_s <= 0:
            return "timed out", 0.0, f"no time was left of {self.limit_s:.0f} s; raise --limit-s", {}
        if step.name == "turns":
            gpu_steps.report_file(self.step_options).unlink(missing_ok=True)  # an older run's
        ended = self.run_process(
            step.command(self.step_options, left_s), left_s, self.step_options.folder / f"{step.name}.log"
        )
        took_s = self.clock() - began_s
        result: StepResult | None = None
        with suppress(ValueError, OSError, LookupError, TypeError):  # output that is not the step's
            result = step.read(self.step_options, ended.stdout)
        figures = result.figures if result else {}
        if ended.exit_code is None:
            return (
                "timed out",
                took_s,
                f"ended after {left_s:.0f} s" + (f", with: {result.text}" if result else ""),
                figures,
            )
        if result is None:
            return "failed", took_s, f"exit code {ended.exit_code}: {ended.last_line}", {}
        if ended.exit_code not in step.exit_codes:
            return "failed", took_s, f"exit code {ended.exit_code}, with: {result.text}: {ended.last_line}", figures
        return "invalid" if result.invalid else "done", took_s, result.text, figures

    def _memory(self) -> Outcome:
        if MEMORY not in self.only:
            return "skipped", 0.0, "not in --only", {}
        turns = next((step["figures"] for step in self.result["steps"] if step["name"] == "turns"), None)
        try:
            result = gpu_steps.memory(turns or None)
        except (LookupError, TypeError, ValueError) as error:
            return "failed", 0.0, f"the turns' result has no memory figures ({type(error).__name__}: {error})", {}
        if isinstance(result, str):
            return "skipped", 0.0, result, {}
        return "done", 0.0, result.text, result.figures

    def _record(self, name: str, outcome: str, took_s: float, text: str, figures: dict[str, Any]) -> None:
        one = {"name": name, "outcome": outcome, "took_s": round(took_s, 1), "text": text, "figures": figures}
        if self.notes:
            one["notes"], self.notes = list(self.notes), ()
        self.result["steps"].append(one)
        self._print(f"{name}: {outcome} in {took_s:.0f} s: {text}")
        self._write()

    def _write(self) -> None:
        folder = self.step_options.folder
        self.result["took_s"] = round(self.clock() - self.began_s, 1)
        (folder / "gpu.json").write_text(json.dumps(self.result, indent=1) + "\n", "utf-8")
        try:
            report = gpu_report.markdown(self.result)
        except (LookupError, TypeError, ValueError) as error:  # the steps that follow are worth more than the page
            report = f"# {self.card.name}\n\nThe report failed ({type(error).__name__}: {error}); see gpu.json.\n"
        (folder / f"{folder.name}.md").write_text(report, "utf-8")

    @staticmethod
    def _print(text: str) -> None:
        print(f"gpu: {text}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure and report; return 0 if no step failed or is invalid, 1 if one is, 2 without a GPU."""
    options = _parse(arguments)
    card = gpu_machine.processor_card() if options.tiny else gpu_machine.find_card()
    if isinstance(card, str):
        print(f"gpu: error: {card}", file=sys.stderr)
        return 2
    folder = Path(options.out) / card.slug
    folder.mkdir(parents=True, exist_ok=True)
    profile = options.profile or _profile(tiny=options.tiny)
    turns = options.turns or (TINY_TURNS if options.tiny else TURNS)
    run_id = uuid.uuid4().hex
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "run_id": run_id,
        "card": card.name,
        "profile": profile,
        "caveat": f"profile {profile}, {WEIGHTLESS}",
        "machine": {**card.facts, "python": sys.version.split()[0]},
        "options": vars(options),
        "steps": [],
    }
    step_options = StepOptions(folder.resolve(), options.tiny, profile, turns, tuple(options.set), run_id)
    only = tuple(options.only or NAMES)
    code = GpuMeasurement(
        card, step_options, only, options.limit_s, result, prepare_s=options.prepare_s, requested_turns=options.turns
    ).run()
    print(f"report: {folder / f'{folder.name}.md'}\nresult: {folder / 'gpu.json'}")
    return code


def _profile(*, tiny: bool) -> str:
    if tiny:
        return "weightless-tiny"
    if gpu_machine.has_vllm():
        return "weightless"
    print(
        "gpu: vLLM is not installed (no `vllm` on the PATH, or no httpx), so the turns run on weightless-hf: bf16, "
        "which shows nothing about W4A16; to measure that, run `pip install '.[cpu,gpu]'`",
        file=sys.stderr,
    )
    return "weightless-hf"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=NAMES, help="run only this step; repeatable")
    parser.add_argument(
        "--turns", type=_positive_count, help=f"turns to score; {TURNS} by default, {TINY_TURNS} with --tiny"
    )
    parser.add_argument("--profile", help="default: weightless if vLLM is installed, else weightless-hf")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the profile; repeatable"
    )
    parser.add_argument("--out", default="results/gpu", help="folder for the card's folder")
    parser.add_argument("--limit-s", type=float, default=LIMIT_S, help="seconds for all steps together")
    parser.add_argument(
        "--prepare-s", type=float, default=PREPARE_S, help="seconds for loading and compiling before that; 0: do not"
    )
    parser.add_argument("--tiny", action="store_true", help="use tiny networks on the processor, to try the steps")
    return parser.parse_args(arguments)


def _positive_count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of turns, at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
