"""What a device can do, measured with torch: bytes a second of its memory and cache, operations a second by type."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from turngap_agent.device import amx, rates
from turngap_agent.device.rates import Rates

ROUNDS = 5
_GPU_BYTES, _GPU_SIDE, _CPU_SIDE = 1 << 30, 4096, 512
_TYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
}


def measure_torch_rates(name: str, kinds: Sequence[str], threads: int | None = None) -> Rates:
    """Return the rates of the device called `name`, of products in `kinds`; a type that torch has not is left out.

    On a processor with `threads` threads, by default those that torch has; on a GPU the rates say 0 threads.
    """
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        return _measure(torch.device(name), kinds)
    finally:
        torch.set_num_threads(before)


def _measure(device: torch.device, kinds: Sequence[str]) -> Rates:
    if device.type == "cpu":
        amx.hide_from_torch(torch.cpu)
    side = _GPU_SIDE if device.type == "cuda" else _CPU_SIDE
    operations = {kind: 2 * side**3 / _time_product(device, kind, side) for kind in kinds if kind in _TYPES}
    if device.type != "cuda":
        threads = torch.get_num_threads()
        processor = rates.measure_rates(threads, ())
        return Rates(threads, processor.memory_bytes_s, processor.cache_bytes_s, processor.cache_bytes, operations)
    cache = getattr(torch.cuda.get_device_properties(device), "L2_cache_size", None)
    return Rates(
        0,
        _copy_rate(device, _GPU_BYTES, 1),
        _copy_rate(device, cache // 4, 64) if cache else None,
        cache,
        operations,
    )


def _copy_rate(device: torch.device, size: int, repeats: int) -> float:
    source = torch.ones(size // 2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(repeats):
            target.copy_(source)

    return 2 * len(source) * repeats / _best_s(device, copy)


def _time_product(device: torch.device, kind: str, side: int) -> float:
    left, right = (torch.ones(side, side, dtype=_TYPES[kind], device=device) for _ in "ab")
    # Products of 8 bits have sums of 32, and a function of their own.
    product = torch._int_mm if kind == "int8" else torch.mm
    out = torch.empty_like(left, dtype=torch.int32 if kind == "int8" else None)

    def multiply() -> None:
        product(left, right, out=out)

    return _best_s(device, multiply)


def _best_s(device: torch.device, work: Callable[[], None]) -> float:
    best = float("inf")
    with torch.inference_mode():
        for _ in range(ROUNDS + 1):
            _wait(device)
            began = time.perf_counter()
            work()
            _wait(device)
            best = min(best, time.perf_counter() - began)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
