"""Measures this machine's GPU in ten minutes (calibration, weightless turns, CSM, memory) and writes a report.

    python -m benchmarks.gpu

from the project's root. Each step is its own process: a step that fails, or whose packages are missing, does not stop
the others. Everything is written to results/gpu/CARD/. Starting it needs only Python.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks import gpu_machine, gpu_report, gpu_steps
from benchmarks.gpu_machine import ROOT, Card
from benchmarks.gpu_steps import MEMORY, ON_TORCH, STEPS, WEIGHTLESS, WEIGHTLESS_BF16, GpuStep, StepOptions, StepResult

SCHEMA = 1
TURNS = 93
"""The smallest number of which one may be over budget. One turn may be invalid; two would be more than 2 %."""
TINY_TURNS = 3
LIMIT_S = 600.0
GRACE_S = 30.0
"""How long an interrupted step may take to write what it has."""
READ_S = 5.0
"""How long to wait for the end of its output: a process that it left behind may keep the pipe open."""
NAMES = (*(step.name for step in STEPS), MEMORY)
BAD = ("failed", "invalid", "timed out", "interrupted")


@dataclass(slots=True)
class GpuMeasurement:
    """The current measurement; its result is written after each step."""

    card: Card
    step_options: StepOptions
    only: tuple[str, ...]
    limit_s: float
    result: dict[str, Any]
    began_s: float = field(default_factory=time.monotonic)

    def run(self) -> int:
        """Run all steps; return the exit code."""
        try:
            for step in STEPS:
                self._record(step.name, *self._run_step(step))
            self._record(MEMORY, *self._memory())
        except KeyboardInterrupt:
            self._print("interrupted; the results so far are kept")
            self.result["interrupted"] = True
            self._write()
            return 2
        return 1 if any(step["outcome"] in BAD for step in self.result["steps"]) else 0

    def _run_step(self, step: GpuStep) -> tuple[str, float, str, dict[str, Any]]:
        """Run a step; return its outcome, seconds, summary and figures."""
        began_s = time.monotonic()
        if step.name not in self.only:
            return "skipped", 0.0, "not in --only", {}
        if (why := gpu_machine.missing(step.modules)) is not None:
            return "missing", time.monotonic() - began_s, f"{why}; {step.remedy}", {}
        self._print(f"{step.name} …")
        left_s = min(step.most_s, self.limit_s - (time.monotonic() - self.began_s))
        if left_s <= 0:
            return "timed out", 0.0, f"no time was left of {self.limit_s:.0f} s; raise --limit-s", {}
        ended, stdout, last = _run(
            step.command(self.step_options, left_s), left_s, self.step_options.folder / f"{step.name}.log"
        )
        took_s = time.monotonic() - began_s
        result: StepResult | None = None
        with suppress(ValueError, OSError, KeyError):
            result = step.read(self.step_options, stdout)
        if ended is None:
            text = f"ended after {left_s:.0f} s" + (f", with: {result.text}" if result else "")
            return "timed out", took_s, text, result.figures if result else {}
        if result is None:
            return "failed", took_s, f"exit code {ended}: {last}", {}
        return "invalid" if result.invalid else "done", took_s, result.text, result.figures

    def _memory(self) -> tuple[str, float, str, dict[str, Any]]:
        if MEMORY not in self.only:
            return "skipped", 0.0, "not in --only", {}
        turns = next((step["figures"] for step in self.result["steps"] if step["name"] == "turns"), None)
        result = gpu_steps.memory(turns or None)
        if isinstance(result, str):
            return "skipped", 0.0, result, {}
        return "done", 0.0, result.text, result.figures

    def _record(self, name: str, outcome: str, took_s: float, text: str, figures: dict[str, Any]) -> None:
        one = {"name": name, "outcome": outcome, "took_s": round(took_s, 1), "text": text, "figures": figures}
        self.result["steps"].append(one)
        self._print(f"{name}: {outcome} in {took_s:.0f} s: {text}")
        self._write()

    def _write(self) -> None:
        folder = self.step_options.folder
        self.result["took_s"] = round(time.monotonic() - self.began_s, 1)
        (folder / "gpu.json").write_text(json.dumps(self.result, indent=1) + "\n", "utf-8")
        (folder / f"{folder.name}.md").write_text(gpu_report.markdown(self.result), "utf-8")

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
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "card": card.name,
        "profile": profile,
        "caveat": f"profile {profile}, {WEIGHTLESS_BF16 if profile in ON_TORCH else WEIGHTLESS}",
        "machine": {**card.facts, "python": sys.version.split()[0]},
        "options": vars(options),
        "steps": [],
    }
    step_options = StepOptions(folder.resolve(), options.tiny, profile, turns, tuple(options.set))
    code = GpuMeasurement(card, step_options, tuple(options.only or NAMES), options.limit_s, result).run()
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


def _run(command: list[str], most_s: float, log: Path) -> tuple[int | None, str, str]:
    """Run a command; return its exit code (None: it was ended), its standard output, and its last line on stderr."""
    out: list[str] = []
    last: deque[str] = deque(maxlen=1)
    piped = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with log.open("w", encoding="utf-8") as file, piped as process:
        readers = [
            threading.Thread(target=_read, args=(process.stdout, out.append, file), daemon=True),
            threading.Thread(target=_read, args=(process.stderr, lambda line: _show(line, last), file)),
        ]
        for reader in readers:
            reader.start()
        late = False
        try:
            process.wait(most_s)
        except subprocess.TimeoutExpired:
            late = True
            _end(process)
        except KeyboardInterrupt:
            _end(process)
            raise
        finally:
            for reader in readers:
                reader.join(READ_S)
    return (None if late else process.returncode), "".join(out), last[-1] if last else "no output on stderr"


def _read(stream: IO[str], take: Any, file: IO[str]) -> None:
    for line in stream:
        take(line)
        file.write(line)


def _show(line: str, last: deque[str]) -> None:
    sys.stderr.write(line)
    if line.strip():
        last.append(line.strip())


def _end(process: subprocess.Popen[str]) -> None:
    """End a process as Ctrl-C would, so that a run keeps its finished turns; then kill it with all that it started."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


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
    parser.add_argument("--tiny", action="store_true", help="use tiny networks on the processor, to try the steps")
    return parser.parse_args(arguments)


def _positive_count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of turns, at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
