"""The steps of a GPU's measurement: what each needs, runs and finds; standard library only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEIGHTLESS = "weightless: timing and memory only; FAIL is conclusive, PASS is necessary, not sufficient"
WEIGHTLESS_BF16 = (
    "weightless: timing and memory only, of bf16 on torch: neither FAIL nor PASS is conclusive for W4A16 on vLLM"
)
ON_TORCH = ("weightless-hf", "weightless-tiny")
JUDGED_FROM = 59
"""Turns below which no bound on p95 exists, and so no budget is judged."""
RUNS = "runs"
"""Where, beside the results, the runs' own folders lie."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for."""

    folder: Path
    """The card's."""
    tiny: bool
    profile: str
    turns: int
    overrides: tuple[str, ...]
    """Changes of the profile, `section.key=value`."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a step gave."""

    text: str
    """In one line."""
    figures: dict[str, Any]
    invalid: bool = False
    """It ran, and can't be relied on."""


@dataclass(frozen=True, slots=True)
class Step:
    """One part of the measurement; its own process."""

    name: str
    modules: tuple[str, ...]
    """All that it imports, as far as it may be missing."""
    remedy: str
    most_s: float
    """It is ended after so long, and keeps what it has."""
    command: Callable[[Wanted, float], list[str]]
    """What to run, given how many seconds it has."""
    read: Callable[[Wanted, str], Found]
    """What it found, from its standard output; raises ValueError or OSError where that says nothing."""


def _calibrate(wanted: Wanted, _: float) -> list[str]:
    few = ["--delays", "150", "--turns", "3"] if wanted.tiny else []
    return [sys.executable, "-m", "turngap", "calibrate", "--json", *few]


def _calibrated(_: Wanted, stdout: str) -> Found:
    told = json.loads(stdout)
    biases = [row["bias_median_ms"] for row in told["delays"] if row["bias_median_ms"] is not None]
    worst = max(biases, key=abs, default=None)
    text = "no turn was answered" if worst is None else f"the instrument's bias is {worst:+.2f} ms"
    return Found(text + ("" if told["valid"] else "; over its bars: is the machine idle?"), told, not told["valid"])


def _csm(wanted: Wanted, left_s: float) -> list[str]:
    how = ["--tiny", "--device", "cpu"] if wanted.tiny else ["--weights", "random", "--device", "cuda"]
    limit_s = max(10.0, left_s - 15)
    return [sys.executable, "benchmarks/csm.py", *how, "--limit-s", f"{limit_s:.0f}", "--out", str(wanted.folder)]


def _spoken(wanted: Wanted, _: str) -> Found:
    # The newest: the file is named as torch names the device, which is not always the driver's name for it.
    file = max(wanted.folder.glob("csm-*.json"), key=lambda path: path.stat().st_mtime)
    told = json.loads(file.read_text("utf-8"))
    verdict, failed = told.get("verdict"), told["failed"]
    text = "no mode was measured"
    if verdict is not None:
        text = f"{verdict['mode']}: a frame of 80 ms takes {verdict['frame_p95_ms']:.2f} ms at p95"
    lost = f"; not measured: {', '.join(failed)}" if failed else ""
    broken = [why for why in failed.values() if not why.startswith("TimeoutError")]
    return Found(f"{text}{lost}", told | {"file": file.name}, invalid=bool(broken))


def _turns(wanted: Wanted, _: float) -> list[str]:
    judged = not wanted.tiny and wanted.turns >= JUDGED_FROM
    command = [sys.executable, "-m", "turngap", "run", "probe", "--profile", wanted.profile, "--json"]
    command += ["--turns", str(wanted.turns), "--out", str(wanted.folder / RUNS)]
    command += [part for one in wanted.overrides for part in ("--set", one)]
    return command + (["--budget", "sub500"] if judged else [])


def _measured(wanted: Wanted, stdout: str) -> Found:
    record = json.loads(stdout)
    report = wanted.folder / RUNS / record["run_id"] / "report.html"
    if report.is_file():
        (wanted.folder / f"{wanted.folder.name}.html").write_bytes(report.read_bytes())
    gap = record["turn_gap_ms"]
    figures = ", ".join(f"{words} {_ms(gap[key])}" for key, words in GAP)
    text = f"{record['profile']}, {record['verdict']}, {record['n_turns']} turns: turn gap {figures}"
    return Found(text, record, invalid=record["verdict"] == "INVALID")


def memory(record: dict[str, Any] | None) -> Found | str:
    """What the card held before, by engine and at its peak, MiB, from a run's record; or why nothing is known."""
    if record is None:
        return "no turns were measured, and memory is counted while they are"
    if not record["gpus"]:
        return "the run saw no GPU"
    (gpu, *_), held = record["gpus"], record["agent"]["memory_mib"]
    accounted = gpu["used_before_mib"] + sum(held.values())
    figures = {
        "before": gpu["used_before_mib"],
        **held,
        "during the calls": gpu["used_peak_mib"] - accounted,
        "peak": gpu["used_peak_mib"],
        "card": gpu["total_mib"],
        "headroom": gpu["total_mib"] - gpu["used_peak_mib"],
    }
    return Found(f"{gpu['used_peak_mib']:,.0f} of {gpu['total_mib']:,.0f} MiB at the peak", {"memory_mib": figures})


GAP = (("p50", "p50"), ("p95", "p95"), ("p95_upper", "its 95 % bound"))
"""Figures of a gap, and what they are called."""
_PROJECT = "run `pip install '.[cpu,csm]'` in the project's root"
STEPS = (
    Step(
        "calibration",
        ("turngap.cli.run", "turngap.cli.calibrate"),
        f"{_PROJECT} (only torch and transformers are needed for the step csm)",
        90,
        _calibrate,
        _calibrated,
    ),
    Step(
        "turns",
        ("turngap.cli.run", "turngap_agent.server.hosting", "onnxruntime", "torch", "transformers"),
        _PROJECT,
        520,
        _turns,
        _measured,
    ),
    # Last, for it is worth having in parts, and finds compiled what the turns' agent has compiled.
    Step("csm", ("numpy", "torch", "transformers"), "run `pip install torch transformers`", 240, _csm, _spoken),
)
MEMORY = "memory"
"""The last step, read off the turns' result."""


def _ms(value: float | None) -> str:
    return "not known" if value is None else f"{value:.0f} ms"
