"""Signs that a load is too much: a queue grows, calls are refused; and by what: cores, GPU, KV cache are full. Pure.

Cores are counted by /proc/stat, the GPU by NVML, the KV cache as the agent's metrics page reports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turngap.capacity.points import Sign, SignKind
from turngap.model.agent_figures import KvCacheFigures
from turngap.verdict import stats

FULL = 0.95
"""From this share on cores, a GPU or a KV cache are full."""
MOST_REFUSED = 0.05
"""More refused calls than this are no chance: as many as a p95 leaves out."""
LEAST_DRIFT = 0.25
"""A queue grows if the gap grows by more than this part of its median while the load stays the same."""
LEVEL = 0.01
"""Of the test that it does."""
SLOWER = 2.0
"""A p95 so many times that of the lowest load, with full cores, GPU or cache, is saturation too."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What the samplers and the agent told about the time of a load; None: not known."""

    cores: int
    busy_share: float | None = None
    """Of the machine's cores, all processes."""
    agent_cores: float | None = None
    """Cores that the agent used in the mean."""
    gpu_share: float | None = None
    """Share of the time in which the agent's GPU had work."""
    kv_cache: KvCacheFigures | None = None


def find_signs(
    gaps_ms: Sequence[float | None], refused: int, calls: int, resources: Resources, *, steady: bool
) -> tuple[Sign, ...]:
    """Return the signs of saturation at a point.

    `gaps_ms`: from the planned time, in the order of the plan; None for no good answer. `steady`: the load was the same
    all the time, so that a growing gap is a growing queue.
    """
    signs = []
    drift = stats.measure_drift(gaps_ms, alpha=LEVEL, least=LEAST_DRIFT) if steady else None
    if drift is not None and drift.drifting and drift.change_ms > 0:
        text = f"the gap grew by {drift.change_ms:.0f} ms while the load stayed the same"
        signs.append(Sign(kind=SignKind.QUEUE, text=text))
    if refused:
        signs.append(Sign(kind=SignKind.REFUSED, text=f"{refused} of {calls} calls were not taken"))
    if resources.busy_share is not None and resources.busy_share >= FULL:
        own = "" if resources.agent_cores is None else f", the agent {resources.agent_cores:.1f} cores of it"
        text = f"{resources.busy_share:.0%} of the time of {resources.cores} cores was used{own}"
        signs.append(Sign(kind=SignKind.CORES, text=text))
    if resources.gpu_share is not None and resources.gpu_share >= FULL:
        signs.append(Sign(kind=SignKind.GPU, text=f"the GPU had work {resources.gpu_share:.0%} of the time"))
    cache = resources.kv_cache
    if cache is not None and cache.reserved_mib > 0 and cache.used_peak_mib >= FULL * cache.reserved_mib:
        text = f"{cache.used_peak_mib:.0f} of {cache.reserved_mib:.0f} MiB were used at once"
        signs.append(Sign(kind=SignKind.KV_CACHE, text=text))
    return tuple(signs)


def is_saturated(
    signs: Sequence[Sign], refused: int, calls: int, p95_ms: float | None, lowest_p95_ms: float | None
) -> bool:
    """Return whether more load makes no sense: a queue grows, calls are refused, or something is full and it shows.

    It shows where p95 is `SLOWER` times that of the lowest load, or among turns without a good answer.
    """
    kinds = {sign.kind for sign in signs}
    if SignKind.QUEUE in kinds or (calls and refused > MOST_REFUSED * calls):
        return True
    full = kinds & {SignKind.CORES, SignKind.GPU, SignKind.KV_CACHE}
    slow = p95_ms is None or (lowest_p95_ms is not None and p95_ms >= SLOWER * lowest_p95_ms)
    return bool(full) and slow
