"""Energy of a call, a turn and a minute: by the GPU's own counter in `gpu.csv`, the processor's in `health.csv`."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from turngap.model.health import EnergyFigures, EnergyPart
from turngap.processes.health_log import LONGEST_STEP_S, HealthSamples
from turngap.processes.proc_counters import PACKAGE

GPU = "GPU"


def summarise_energy(
    samples: HealthSamples,
    gpu_j: tuple[float, float] | None,
    *,
    since_s: float,
    calls: int,
    answered_turns: int,
    call_s: float,
    not_readable: Mapping[str, str],
) -> EnergyFigures | None:
    """Return the energy from `since_s` on; `gpu_j` is that of the agent's GPU, with its seconds (`read_gpu_energy`).

    `calls`, `answered_turns` and `call_s` are those of this session's calls with scored turns. None without calls.
    """
    if not calls:
        return None
    package_j = samples.measure_total("package_j", since_s)

    def part(known: tuple[float, float] | None) -> EnergyPart | None:
        if known is None:
            return None
        joules, seconds = known
        return EnergyPart(
            joules=joules,
            watts=joules / seconds,
            call_j=joules / calls,
            answered_turn_j=joules / answered_turns if answered_turns else None,
            call_minute_j=joules / (call_s / 60) if call_s else None,
        )

    gpu, package = part(gpu_j), part(package_j)
    seconds = max((known[1] for known in (gpu_j, package_j) if known is not None), default=0.0)
    reasons = {name: text for name, text in not_readable.items() if name in (GPU, PACKAGE)}
    if gpu is not None:
        reasons.pop(GPU, None)
    if package is None:
        reasons.setdefault(PACKAGE, "it was not sampled")
    return EnergyFigures(seconds=round(seconds, 3), calls=calls, gpu=gpu, package=package, not_readable=reasons)


def read_gpu_energy(file: Path, gpu: int, since_s: float) -> tuple[float, float] | None:
    """Return J and seconds of a GPU in `gpu.csv` from `since_s` on; None if its driver counts no energy."""
    if not file.is_file():
        return None
    rows: list[tuple[float, float]] = []
    with file.open(newline="", encoding="utf-8", errors="replace") as lines:
        for line in csv.DictReader(lines):
            try:
                at_s, number, energy_j = (float(line.get(name) or "x") for name in ("at_s", "gpu", "energy_j"))
            except ValueError:
                continue
            if number == gpu and at_s >= since_s:
                rows.append((at_s, energy_j))
    joules = seconds = 0.0
    for (before_s, before_j), (after_s, after_j) in pairwise(rows):
        if 0 < after_s - before_s <= LONGEST_STEP_S and after_j >= before_j:
            joules += after_j - before_j
            seconds += after_s - before_s
    return (joules, seconds) if seconds > 0 else None
