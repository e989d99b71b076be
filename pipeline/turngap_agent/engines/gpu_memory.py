"""GPU memory by arithmetic: what one engine will hold, computed before it loads. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """What one engine holds of a GPU."""

    mib: float
    arithmetic: str
    """How it was computed, for people."""


def weights_memory(name: str, parameters: float, bytes_per_parameter: int) -> GpuMemory:
    """Return the memory of the network `name`: its weights, and a tenth of them for working memory."""
    return GpuMemory(
        1.1 * parameters * bytes_per_parameter / MIB,
        f"{name}: {parameters / 1e6:,.0f} M x {bytes_per_parameter} bytes and a tenth",
    )


def gigabytes(mib: float) -> str:
    """For people, in powers of ten: "19.0 GB"."""
    return f"{mib * MIB / 1e9:.1f} GB"
