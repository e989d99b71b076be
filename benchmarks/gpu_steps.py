"""The steps of a GPU's measurement: what each needs, its command, and how its output is read; standard library only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu_plan import JUDGED_FROM
from benchmarks.speech import OVER_LIMIT

WEIGHTLESS = "random weights: timing and memory only; what FAIL and PASS show is said with the verdict of the turns"
RUNS = "runs"
"""The folder of the runs, in the card's folder."""


@dataclass(frozen=True, slots=True)
class StepOptions:
    """The options that steps need."""

    folder: Path
    """The card's folder."""
    tiny: bool
    profile: str
    turns: int
    overrides: tuple[str, ...]
    """Changes of the profile, `section.key=value`."""
    run_id: str = ""
    """Names this measurement; a result without it is an older one's."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of a step."""

    text: str
    """A summary in one line."""
    figures: dict[str, Any]
    invalid: bool = False
    """The step ran, but its figures can't be relied on."""


@dataclass(frozen=True, slots=True)
class GpuStep:
    """One part of the measurement, run as a process."""

    name: str
    modules: tuple[str, ...]
    """The modules that it imports and that may be missing."""
    remedy: str
    share: float
    """Of the limit for all steps, what this one may take; it is ended then, and keeps what it has measured."""
    command: Callable[[StepOptions, float], list[str]]
    """Returns the command, given the seconds it may take."""
    read: Callable[[StepOptions, str], StepResult]
    """Reads the result from standard output; raises ValueError, OSError or KeyError if there is none."""
    exit_codes: tuple[int, ...] = (0, 1, 2)
    """Exit codes of a process that ended by itself; after any other its result is what it had by then."""


def _calibration_command(options: StepOptions, _: float) -> list[str]:
    few = ["--delays", "150", "--turns", "3"] if options.tiny else []
    return [sys.executable, "-m", "turngap", "calibrate", "--json", *few]


def _read_calibration(_: StepOptions, stdout: str) -> StepResult:
    output = json.loads(stdout)
    biases = [row["bias_median_ms"] for row in output["delays"] if row["bias_median_ms"] is not None]
    worst = max(biases, key=abs, default=None)
    text = "no turn was answered" if worst is None else f"the instrument's bias is {worst:+.2f} ms"
    return StepResult(
        text + ("" if output["valid"] else "; over its bars: is the machine idle?"), output, not output["valid"]
    )


def _prepare_command(options: StepOptions, _: float) -> list[str]:
    return [sys.executable, "-m", "benchmarks.gpu_prepare", options.profile, *options.overrides]


def _read_prepare(_: StepOptions, stdout: str) -> StepResult:
    output = json.loads(stdout.splitlines()[-1] if stdout else "")
    return StepResult(f"engines loaded and compiled in {output['load_s']:.0f} s", output)


def _csm_command(options: StepOptions, left_s: float) -> list[str]:
    how = ["--tiny", "--device", "cpu"] if options.tiny else ["--weights", "random", "--device", "cuda"]
    limit_s = max(10.0, left_s - 15)
    how += ["--limit-s", f"{limit_s:.0f}", "--run-id", options.run_id]
    return [sys.executable, "benchmarks/csm.py", *how, "--out", str(options.folder)]


def _read_csm(options: StepOptions, _: str) -> StepResult:
    # Its name is torch's name of the device, which may differ from the driver's; the id tells it from older ones.
    results = {file: json.loads(file.read_text("utf-8")) for file in options.folder.glob("csm-*.json")}
    new = [file for file, result in results.items() if result.get("options", {}).get("run_id") == options.run_id]
    if not new:
        raise ValueError("csm.py wrote no result in this measurement")
    (file,) = new
    output = results[file]
    verdict, failed = output.get("verdict"), output["failed"]
    text = "no mode was measured"
    if verdict is not None:
        text = f"{verdict['mode']}: a frame of 80 ms takes {verdict['frame_p95_ms']:.2f} ms at p95"
        if verdict["codec_differs"]:
            text += f"; the codec's samples differ from the eager ones: {', '.join(verdict['codec_differs'])}"
    lost = f"; not measured: {', '.join(failed)}" if failed else ""
    broken = [why for why in failed.values() if not why.startswith(OVER_LIMIT)]
    invalid = bool(broken) or verdict is None or bool(verdict["codec_differs"])
    return StepResult(f"{text}{lost}", output | {"file": file.name}, invalid)


def _turns_command(options: StepOptions, _: float) -> list[str]:
    judged = not options.tiny and options.turns >= JUDGED_FROM
    command = [sys.executable, "-m", "turngap", "run", "probe", "--profile", options.profile, "--json"]
    command += ["--turns", str(options.turns), "--out", str(options.folder / RUNS)]
    command += [part for override in options.overrides for part in ("--set", override)]
    return command + (["--budget", "sub500"] if judged else [])


def _read_turns(options: StepOptions, stdout: str) -> StepResult:
    record = json.loads(stdout)
    report, shown = options.folder / RUNS / record["run_id"] / "report.html", report_file(options)
    shown.unlink(missing_ok=True)
    if report.is_file():
        shown.write_bytes(report.read_bytes())
    gap = record["turn_gap_ms"]
    figures = ", ".join(f"{words} {_ms(gap[key])}" for key, words in GAP)
    text = f"{record['profile']}, {record['verdict']}, {record['n_turns']} turns: turn gap {figures}"
    return StepResult(text, record, invalid=record["verdict"] == "INVALID")


def _stages_command(options: StepOptions, left_s: float) -> list[str]:
    limit_s, stages = max(10.0, left_s - 10), "tts" if options.tiny else "tts,stt,llm"  # the most valuable first
    return [
        sys.executable,
        "-m",
        "benchmarks.gpu_stages",
        options.profile,
        f"{limit_s:.0f}",
        stages,
        *options.overrides,
    ]


def _read_stages(_: StepOptions, stdout: str) -> StepResult:
    output = json.loads(stdout.splitlines()[-1] if stdout else "")
    texts = [_stage_text(name, document) for name, document in output.items()]
    return StepResult("; ".join(texts), output, invalid=all("error" in document for document in output.values()))


def _stage_text(name: str, document: dict[str, Any]) -> str:
    if "error" in document:
        return f"{name}: not measured ({document['error']})"
    distance = document["distance_to_floor"]
    far = f", {distance:.1f} times the floor" if distance is not None else ""
    return f"{name}: first output {document['first_output_ms']['p50']:.1f} ms at p50{far}"


def report_file(options: StepOptions) -> Path:
    """Return the file of the turns' report; one of an older run is deleted before the turns run."""
    return options.folder / f"{options.folder.name}.html"


def memory(record: dict[str, Any] | None) -> StepResult | str:
    """Return the memory before the run, of each engine and at its peak, in MiB, or why it is not known."""
    if record is None:
        return "no turns were measured, so memory was not sampled"
    if not record["gpus"]:
        return "the run saw no GPU"
    (gpu, *_), held_mib = record["gpus"], record["agent"]["memory_mib"]
    accounted = gpu["used_before_mib"] + sum(held_mib.values())
    figures = {
        "before": gpu["used_before_mib"],
        **held_mib,
        "during the calls": gpu["used_peak_mib"] - accounted,
        "peak": gpu["used_peak_mib"],
        "card": gpu["total_mib"],
        "headroom": gpu["total_mib"] - gpu["used_peak_mib"],
    }
    return StepResult(
        f"{gpu['used_peak_mib']:,.0f} of {gpu['total_mib']:,.0f} MiB at the peak", {"memory_mib": figures}
    )


GAP = (("p50", "p50"), ("p95", "p95"), ("p95_upper", "its 95 % bound"))
"""Figures of a gap and their names."""
_PROJECT = "run `pip install '.[cpu,csm]'` in the project's root"
STEPS = (
    GpuStep(
        "calibration",
        ("turngap.cli.run", "turngap.cli.calibrate"),
        f"{_PROJECT} (only torch and transformers are needed for the step csm)",
        0.15,
        _calibration_command,
        _read_calibration,
    ),
    GpuStep(
        "turns",
        (
            *("turngap.cli.run", "turngap.processes.span_server", "turngap.scoring.wer"),
            *("turngap_agent.server.hosting", "turngap_agent.telemetry.export", "turngap_agent.loading"),
            *("onnxruntime", "torch", "transformers"),
        ),
        _PROJECT,
        0.87,
        _turns_command,
        _read_turns,
    ),
    GpuStep(
        "stages",
        ("turngap.cli.stage", "turngap_agent.loading", "onnxruntime", "torch", "transformers"),
        _PROJECT,
        0.15,
        _stages_command,
        _read_stages,
    ),
    # Last: partial results are useful, its kernels have been compiled for the turns, and it may take all that is left.
    GpuStep(
        "csm",
        ("numpy", "torch", "transformers"),
        "run `pip install torch transformers`",
        1.0,
        _csm_command,
        _read_csm,
        exit_codes=(0, 1),
    ),
)
PREPARE = GpuStep("prepare", STEPS[1].modules, _PROJECT, 1.0, _prepare_command, _read_prepare, exit_codes=(0,))
"""Before the clock of the others starts, with a limit of its own."""
MEMORY = "memory"
"""The last step, computed from the result of the turns."""


def _ms(value: float | None) -> str:
    return "not known" if value is None else f"{value:.0f} ms"
