"""The memory table: what the plan gave each engine, what it reserved, and what it used of that at its peak. Pure.

NVML counts the whole device, so the rows are differences of one figure, and their sum is the peak; what no engine
accounts for has a row of its own. Of what is reserved, only a KV cache tells how much was in use; all else counts as
used, so that the second column, too, adds up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from turngap.model.agent_figures import GpuFigures, KvCacheFigures

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
    reserved_gb: float | None
    used_gb: float | None
    """At its peak; what of the reserved part was never needed is left out where that is known."""


def rows(held_mib: Mapping[str, float], gpu: GpuFigures, kv_cache: KvCacheFigures | None = None) -> tuple[Row, ...]:
    """What was in use before, each engine's part, what came on top, and the peak, which is their sum.

    `held_mib`: by section of the profile, what the engine held when it had loaded. `kv_cache` is the language model's;
    without one, and without a figure of the engine it is part of, all that is reserved counts as used.
    """
    idle_mib = kv_cache.reserved_mib - kv_cache.used_peak_mib if kv_cache is not None and "llm" in held_mib else 0.0
    found = [_row("in use before the agent", "", gpu.used_before_mib)]
    for line in PLAN:
        idle = idle_mib if line.section == "llm" else 0.0
        found.append(_row(line.name, _range(line.low_gb, line.high_gb), held_mib.get(line.section), idle))
    rest = gpu.used_peak_mib - gpu.used_before_mib - sum(held_mib.values())
    found.append(_row("on top of it during the calls, held by no one engine", "", rest))
    found.append(_row("peak", _range(*TOTAL_GB), gpu.used_peak_mib, idle_mib))
    return tuple(found)


def accounted_share(held_mib: Mapping[str, float], gpu: GpuFigures) -> float | None:
    """What was in use before and what the engines hold, over the peak; None where the engines' parts are not known."""
    if not held_mib or not gpu.used_peak_mib:
        return None
    return (gpu.used_before_mib + sum(held_mib.values())) / gpu.used_peak_mib


def _range(low_gb: float, high_gb: float) -> str:
    return f"{low_gb:g}" if low_gb == high_gb else f"{low_gb:g}–{high_gb:g}"


def _row(name: str, planned: str, mib: float | None, idle_mib: float = 0.0) -> Row:
    if mib is None:
        return Row(name, planned, None, None)
    return Row(name, planned, mib / MIB_PER_GB, (mib - idle_mib) / MIB_PER_GB)
