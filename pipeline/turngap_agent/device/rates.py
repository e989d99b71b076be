"""What this machine can do, measured: bytes a second from memory and from its last cache, operations a second by type.

A rate is the best of several rounds, since a floor must not lie over what is possible. Products of 8 and 32 bits are
those of ONNX Runtime; of 16 bits, and on a GPU, those of torch (`torch_rates`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from turngap_agent.device.onnx import open_session

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
ROUNDS = 5
_MIB = 1 << 20
_LEAST_MEMORY_BYTES = 128 * _MIB
_SIDE = 768
"""Rows and columns of the matrices that are multiplied."""


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates with so many threads."""

    threads: int
    memory_bytes_s: float
    cache_bytes_s: float | None
    """None where the size of the last cache is not known."""
    cache_bytes: int | None
    operations_s: dict[str, float]
    """By type; a type that was not measured is not there."""


def measure_rates(threads: int, kinds: Sequence[str]) -> Rates:
    """Return the rates of the processor with `threads` threads, of products in `kinds` (int8, float32)."""
    cache = read_last_cache()
    large = max(_LEAST_MEMORY_BYTES, 4 * (cache or 0))
    return Rates(
        threads,
        measure_bandwidth(threads, large, 1),
        measure_bandwidth(threads, cache // 4, 16) if cache else None,
        cache,
        {kind: measure_products(threads, kind) for kind in kinds if kind in _PRODUCTS},
    )


def read_last_cache(folder: Path = CACHES) -> int | None:
    """Return the bytes of the processor's last cache, as the kernel says; None where it does not."""
    sizes = {}
    for index in folder.glob("index*"):
        try:
            level = int((index / "level").read_text("utf-8"))
            match = re.fullmatch(r"(\d+)([KM])", (index / "size").read_text("utf-8").strip())
        except (OSError, ValueError):
            continue
        if match:
            sizes[level] = int(match[1]) << (10 if match[2] == "K" else 20)
    return sizes[max(sizes)] if sizes else None


def measure_bandwidth(threads: int, size: int, repeats: int) -> float:
    """Return bytes a second of copying (read and written) or of reading, the faster, over `size` bytes in all."""
    share = size // threads // 4
    sources = [np.ones(share, np.float32) for _ in range(threads)]
    targets = [np.empty_like(source) for source in sources]

    def copy(index: int) -> None:
        for _ in range(repeats):
            np.copyto(targets[index], sources[index])

    def read(index: int) -> None:
        for _ in range(repeats):
            sources[index].max()

    n_bytes = 4 * share * threads * repeats
    return max(2 * n_bytes / _best_s(copy, threads), n_bytes / _best_s(read, threads))


def _best_s(work: Callable[[int], None], threads: int) -> float:
    with ThreadPoolExecutor(threads) as pool:
        best = float("inf")
        for _ in range(ROUNDS + 1):
            began = time.perf_counter()
            list(pool.map(work, range(threads)))
            best = min(best, time.perf_counter() - began)
    return best


def measure_products(threads: int, kind: str) -> float:
    """Return operations a second of a product of two matrices, in ONNX Runtime on `threads` threads."""
    product = _PRODUCTS[kind]
    right = numpy_helper.from_array(np.ones((_SIDE, _SIDE), product.right), "right")
    graph = helper.make_graph(
        [helper.make_node(product.operator, ["left", "right"], ["out"])],
        "product",
        [helper.make_tensor_value_info("left", product.left_type, [_SIDE, _SIDE])],
        [helper.make_tensor_value_info("out", product.out_type, [_SIDE, _SIDE])],
        [right],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session: Any = open_session(model.SerializeToString(), threads)
    left = np.ones((_SIDE, _SIDE), product.left)
    best = float("inf")
    for _ in range(2 * ROUNDS):
        began = time.perf_counter()
        session.run(None, {"left": left})
        best = min(best, time.perf_counter() - began)
    return 2 * _SIDE**3 / best


class _Product(NamedTuple):
    operator: str
    left_type: int
    out_type: int
    left: type[np.generic]
    right: type[np.generic]


_PRODUCTS = {
    "float32": _Product("MatMul", TensorProto.FLOAT, TensorProto.FLOAT, np.float32, np.float32),
    "int8": _Product("MatMulInteger", TensorProto.UINT8, TensorProto.INT32, np.uint8, np.int8),
}
