"""The floor of a stage: the time that its bytes and operations take at the rates of this machine; pure, but for rates.

Of each part the larger of the two times counts: reading and computing can overlap. Weights that fit into the
processor's last cache are measured against that cache, since they may be there from the last unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turngap_agent.device.work import PartWork
from turngap_agent.stage.measurement import Unit


@dataclass(frozen=True, slots=True)
class MachineRates:
    """What the machine can do with so many threads, on the device that the engine uses."""

    memory_bytes_s: float
    cache_bytes_s: float | None
    cache_bytes: int | None
    operations_s: Mapping[str, float]
    threads: int = 1
    """0: on a GPU."""


@dataclass(frozen=True, slots=True)
class PartFloor:
    """The least time of a part in one unit."""

    bytes_ms: float
    operations_ms: float
    resident: bool
    """Whether its weights fit into the last cache."""

    @property
    def ms(self) -> float:
        """The larger of the two."""
        return max(self.bytes_ms, self.operations_ms)


def compute_floor(work: PartWork, rates: MachineRates) -> PartFloor:
    """Return the floor of a part.

    Raises:
        KeyError: it computes in a type that was not measured.
    """
    resident = (
        rates.cache_bytes is not None and rates.cache_bytes_s is not None and work.weights_bytes <= rates.cache_bytes
    )
    bytes_s = rates.cache_bytes_s if resident and rates.cache_bytes_s is not None else rates.memory_bytes_s
    operations_s = sum(count / rates.operations_s[kind] for kind, count in work.operations.items())
    return PartFloor(1e3 * work.bytes_read / bytes_s, 1e3 * operations_s, resident)


def describe_floor(
    counted: Sequence[tuple[Unit, Mapping[str, PartWork]]], rates: MachineRates, one_thread: MachineRates | None = None
) -> dict[str, Any] | None:
    """Return the floor of the units whose work was counted, mean by part, and how far they were; None without work.

    `rates` are those with the engine's threads, `one_thread` those with one: None on a GPU.
    """
    names = list(dict.fromkeys(name for _, work in counted for name in work))
    if not names:
        return None
    n = len(counted)
    parts: dict[str, Any] = {}
    for name in names:
        works = [work.get(name, PartWork()) for _, work in counted]
        floors = [compute_floor(work, rates) for work in works]
        floor_ms = sum(floor.ms for floor in floors) / n
        measured_ms = sum(unit.recorder.total_ns().get(name, 0) for unit, _ in counted) / n / 1e6
        by_bytes = sum(floor.bytes_ms for floor in floors) >= sum(floor.operations_ms for floor in floors)
        resident = all(floor.resident for floor in floors)
        parts[name] = {
            "floor_ms": floor_ms,
            "measured_ms": measured_ms,
            "distance": measured_ms / floor_ms if floor_ms else None,
            "bound": ("cache bytes" if resident else "memory bytes") if by_bytes else "operations",
            "bytes": sum(work.bytes_read for work in works) / n,
            "weights_bytes": max(work.weights_bytes for work in works),
            "resident": resident,
            "operations": sum(sum(work.operations.values()) for work in works) / n,
            "types": sorted({kind for work in works for kind in work.operations}),
        }
    floor_ms = sum(part["floor_ms"] for part in parts.values())
    measured_ms = sum(unit.times.whole_ms for unit, _ in counted) / n
    return {
        "ms": floor_ms,
        "measured_ms": measured_ms,
        "distance": measured_ms / floor_ms if floor_ms else None,
        "units": n,
        "cache": _describe_cache(parts, rates),
        "parts": parts,
        "rates": _describe_rates(rates),
        "one_thread": None if one_thread is None else _describe_one_thread(counted, one_thread),
    }


def _describe_one_thread(counted: Sequence[tuple[Unit, Mapping[str, PartWork]]], rates: MachineRates) -> dict[str, Any]:
    """Return what the floor would be with one thread, and its rates."""
    works = [part for _, work in counted for part in work.values()]
    total_ms = sum(compute_floor(part, rates).ms for part in works)
    return {"ms": total_ms / len(counted), "rates": _describe_rates(rates)}


def _describe_rates(rates: MachineRates) -> dict[str, Any]:
    return {
        "threads": rates.threads,
        "memory_gb_s": rates.memory_bytes_s / 1e9,
        "cache_gb_s": rates.cache_bytes_s / 1e9 if rates.cache_bytes_s is not None else None,
        "cache_mib": rates.cache_bytes / (1 << 20) if rates.cache_bytes is not None else None,
        "gops_s": {kind: rate / 1e9 for kind, rate in rates.operations_s.items()},
    }


def _describe_cache(parts: Mapping[str, Mapping[str, Any]], rates: MachineRates) -> str:
    if rates.cache_bytes is None:
        return "the size of the last cache is not known, so weights count as read from memory"
    size = f"{rates.cache_bytes / (1 << 20):.0f} MiB"
    inside = [name for name, part in parts.items() if part["resident"]]
    if len(inside) == len(parts):
        return f"all weights fit into the last cache ({size})"
    if not inside:
        return f"no part's weights fit into the last cache ({size})"
    return f"the weights of {', '.join(inside)} fit into the last cache ({size})"
