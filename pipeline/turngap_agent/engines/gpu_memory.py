"""GPU memory by arithmetic: what one engine will hold, computed before it loads. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
PARAMETERS = {"large-v3": 1_550e6, "large-v3-turbo": 809e6, "distil-large-v3": 756e6, "csm-1b": 1_632e6}
"""Parameter counts as their authors publish them; CSM-1B with its codec, counted from the architecture."""


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """What one engine holds of a GPU."""

    mib: float
    arithmetic: str
    """How it was computed, for people."""


def weights_memory(name: str, bytes_per_parameter: int) -> GpuMemory:
    """The memory of a network in `PARAMETERS`: its weights, and a tenth of them for working memory."""
    count = PARAMETERS[name]
    return GpuMemory(
        1.1 * count * bytes_per_parameter / MIB,
        f"{name}: {count / 1e6:,.0f} M x {bytes_per_parameter} bytes and a tenth",
    )


def gigabytes(mib: float) -> str:
    """For people, in powers of ten: "19.0 GB"."""
    return f"{mib * MIB / 1e9:.1f} GB"
