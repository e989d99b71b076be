"""Measures what the machine can do on the device that an engine uses, in the types that it computes in."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from turngap_agent.engines import EngineSettings, Placement
from turngap_agent.errors import EngineError
from turngap_agent.stage.floor import MachineRates

if TYPE_CHECKING:
    from turngap_agent.device.rates import Rates

_OF_TORCH = ("float16", "bfloat16")
"""On a processor ONNX Runtime multiplies in 8 and 32 bits; the rates of these types are torch's."""


def measure_machine(settings: EngineSettings, kinds: Sequence[str]) -> tuple[MachineRates, MachineRates | None]:
    """Return the rates of the engine's device with the engine's threads, and with one: None on a GPU.

    Raises:
        EngineError: only torch could measure them, and it is not installed; or it cannot multiply in one of `kinds`.
    """
    on_gpu = settings.placement() is Placement.GPU
    if on_gpu or settings.on_torch:
        _require_torch("a GPU" if on_gpu else "torch", kinds)
        from turngap_agent.device.torch_rates import measure_torch_rates

        device = getattr(settings, "device", "cpu") if on_gpu else "cpu"
        found = measure_torch_rates(device, kinds)
        one = measure_torch_rates(device, kinds, threads=1) if found.threads > 1 else found
    else:
        threads = int(getattr(settings, "threads", 1))
        found = _measure_processor(threads, kinds)
        one = _measure_processor(1, kinds) if threads > 1 else found
    if missing := sorted(set(kinds) - set(found.operations_s)):
        raise EngineError(f"this machine's rate of products in {', '.join(missing)} could not be measured")
    return _as_machine_rates(found), _as_machine_rates(one) if found.threads else None


def _measure_processor(threads: int, kinds: Sequence[str]) -> Rates:
    from turngap_agent.device.rates import measure_rates

    found = measure_rates(threads, [kind for kind in kinds if kind not in _OF_TORCH])
    short = [kind for kind in kinds if kind in _OF_TORCH]
    if not short:
        return found
    _require_torch("a processor", short)
    from turngap_agent.device.torch_rates import measure_torch_rates

    of_torch = measure_torch_rates("cpu", short, threads=threads)
    return replace(found, operations_s=found.operations_s | of_torch.operations_s)


def _require_torch(device: str, kinds: Sequence[str]) -> None:
    if importlib.util.find_spec("torch") is None:
        raise EngineError(
            f"the rate of products in {', '.join(kinds)} on {device} is measured with torch, which is not installed; "
            "install it: pip install 'turngap[csm]'"
        )


def _as_machine_rates(found: Rates) -> MachineRates:
    return MachineRates(found.memory_bytes_s, found.cache_bytes_s, found.cache_bytes, found.operations_s, found.threads)
