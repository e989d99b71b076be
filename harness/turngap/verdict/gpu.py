"""Whether only the agent used the GPU, and nothing slowed it down, while the turns were answered. Pure.

A turn during which another process used the GPU, or in which heat or a power brake slowed it, says nothing about the
agent: with or without a budget, such a run is INVALID. A card at its own power limit is no fault: it is stated.
"""

from __future__ import annotations

from turngap.model.agent_figures import GpuWatch
from turngap.model.result import Check

MIN_WATCHED = 0.9
"""Share of the turns that must have a GPU sample in their window."""
MAX_BEFORE_MIB = 256.0
"""Memory in use before the agent started: less than any CUDA context."""
_FOREIGN, _HELD = "GPU to itself", "GPU at its speed"
_EXTERNAL = "it may be the language model at llm.url, which this run did not start; make sure that nothing else is"
_SHOWN = 3
_REASONS = {
    "hw_slowdown": "heat or power, by the hardware",
    "sw_thermal": "heat, by the driver",
    "hw_thermal": "heat, by the hardware",
    "hw_power_brake": "a power brake from outside the card",
}


def gpu_checks(watch: GpuWatch) -> list[Check]:
    """Return two validity checks: no other process used the GPU, and nothing slowed it down."""
    if watch.watched_turns < MIN_WATCHED * watch.turns:
        beside = f"{watch.watched_turns} of {watch.turns} turns"
        text = f"the GPU was sampled during {beside}: too few for a check; see `nvidia-smi`"
        unwatched = [Check(name=name, ok=None, text=text, warning=True) for name in (_FOREIGN, _HELD)]
        failed = [check for check in (_foreign(watch), _held_back(watch)) if check.ok is False]
        return failed or unwatched
    return [_foreign(watch), _held_back(watch)]


def _foreign(watch: GpuWatch) -> Check:
    before = watch.before_mib
    if watch.foreign_turns:
        shown = ", ".join(watch.foreign[:_SHOWN])
        more = f" and {len(watch.foreign) - _SHOWN} more" if len(watch.foreign) > _SHOWN else ""
        who = f" (process {shown}{more})" if shown else ""
        text = f"another process{who} was on the GPU during {watch.foreign_turns} of {watch.turns} turns"
        if watch.external_llm:
            return Check(name=_FOREIGN, ok=None, text=f"{text}: {_EXTERNAL}", warning=True)
        return Check(name=_FOREIGN, ok=False, text=f"{text}: stop it, or choose another GPU with gpu.device")
    if watch.sees_all and watch.known_turns == watch.watched_turns:
        return Check(name=_FOREIGN, ok=True, text="no other process was on the GPU during any turn")
    reason = "a container lists only its own processes" if watch.known_turns else "NVML does not list processes here"
    if watch.known_turns and watch.sees_all:
        unlisted = watch.watched_turns - watch.known_turns
        reason = f"NVML did not list the processes during {unlisted} of {watch.turns} turns"
    if before is None:
        return Check(
            name=_FOREIGN,
            ok=None,
            text=f"not known: {reason}, and the memory that the driver keeps is not known either",
        )
    if before > MAX_BEFORE_MIB:
        text = f"{before:,.0f} MiB of the GPU were in use before the agent started, and {reason}"
        if watch.external_llm:
            return Check(name=_FOREIGN, ok=None, text=f"{text}: {_EXTERNAL}", warning=True)
        return Check(name=_FOREIGN, ok=False, text=f"{text}: stop what uses it, or choose another GPU with gpu.device")
    text = f"{reason}; {before:,.0f} MiB of the GPU were in use before the agent started, as on an idle one"
    return Check(name=_FOREIGN, ok=True, text=text)


def _held_back(watch: GpuWatch) -> Check:
    if watch.held_back:
        reason = ", ".join(
            f"{_REASONS.get(why, why)} in {count} of {watch.turns} turns" for why, count in watch.held_back.items()
        )
        text = f"the GPU was slowed down: {reason}; improve its cooling or power supply, and run again"
        return Check(name=_HELD, ok=False, text=text)
    if watch.power_capped_turns:
        text = f"the GPU was at its own power limit in {watch.power_capped_turns} of {watch.turns} turns"
        advice = "as a card under full load is; `nvidia-smi -q -d POWER` shows the limit"
        return Check(name=_HELD, ok=None, text=f"{text}, {advice}", warning=True)
    return Check(name=_HELD, ok=True, text="neither heat nor power slowed the GPU down in any turn")
