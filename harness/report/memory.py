"""The memory table: what the plan gave each engine, what it held once loaded, and what the calls added. Pure.

NVML counts the whole device, so the rows are differences of one figure, and their sum is the peak; what no engine
accounts for has a row of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.result import GpuFigures

MIB_PER_GB = 1e9 / 2**20


@dataclass(frozen=True, slots=True)
class Planned:
    """A line of the plan for one A100 with 80 GB, GB."""

    name: str
    low_gb: float
    high_gb: float
    section: str
    """Of the profile; `cuda` is what CUDA takes for the agent's process before any engine."""


PLAN = (
    Planned("Silero", 0.05, 0.1, "vad"),
    Planned("Whisper", 2, 5, "stt"),
    Planned("Gemma 3 27B INT4 and its KV cache", 34.1, 44.1, "llm"),
    Planned("CSM", 2, 4, "tts"),
    Planned("CUDA", 5, 10, "cuda"),
)
TOTAL_GB = (45.0, 65.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; GB, None where nothing is known."""

    name: str
    planned: str
    held_gb: float | None


def rows(held_mib: Mapping[str, float], gpu: GpuFigures) -> tuple[Row, ...]:
    """What was in use before, each engine's part, what came on top, and the peak, which is their sum."""
    found = [Row("in use before the agent", "", gpu.used_before_mib / MIB_PER_GB)]
    found += [Row(line.name, _range(line.low_gb, line.high_gb), _gb(held_mib.get(line.section))) for line in PLAN]
    accounted = gpu.used_before_mib + sum(held_mib.values())
    rest = gpu.used_peak_mib - accounted
    found.append(Row("on top of it during the calls, held by no one engine", "", rest / MIB_PER_GB))
    found.append(Row("peak", _range(*TOTAL_GB), gpu.used_peak_mib / MIB_PER_GB))
    return tuple(found)


def accounted_share(held_mib: Mapping[str, float], gpu: GpuFigures) -> float | None:
    """What was in use before and what the engines hold, over the peak; None where the engines' parts are not known."""
    if not held_mib or not gpu.used_peak_mib:
        return None
    return (gpu.used_before_mib + sum(held_mib.values())) / gpu.used_peak_mib


def _range(low_gb: float, high_gb: float) -> str:
    return f"{low_gb:g}" if low_gb == high_gb else f"{low_gb:g}–{high_gb:g}"


def _gb(mib: float | None) -> float | None:
    return None if mib is None else mib / MIB_PER_GB
