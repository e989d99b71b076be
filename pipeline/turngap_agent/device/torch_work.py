"""What a unit on torch must read and compute, counted as its operations are dispatched, by their real shapes.

The eager mode alone dispatches every operation; graphs and compiled units do the same work in fewer kernels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from turngap_agent import parts
from turngap_agent.device.operation_counts import READING
from turngap_agent.device.work import PartWork


class TorchWork(TorchDispatchMode):  # type: ignore[misc]  # torch is not seen by the type check
    """Counts products by part, and what they read that was there before: weights, keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.by_part: dict[str, PartWork] = {}
        self.operations = 0
        """All that were dispatched."""
        self.host_reads = 0
        """Those that read a value back to the host."""
        self._new: set[int] = set()
        """Addresses of the storages of results."""
        self._seen: dict[str, set[int]] = {}

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Any = (), more: Any = None) -> Any:
        more = more or {}
        packet = function._overloadpacket
        if packet not in flop_registry:
            with self:
                decomposed = function.decompose(*args, **more)
            if decomposed is not NotImplemented:
                return decomposed
        result = function(*args, **more)
        self.operations += 1
        self.host_reads += function.__name__.split(".")[0] in READING
        part = parts.find_current_part()
        if part is not None and packet in flop_registry:
            self._count(part, packet, args, more, result)
        # A view of a weight, and what is written in place, is no new storage.
        old = {tensor.untyped_storage().data_ptr() for tensor in _tensors((*args, *more.values()))}
        self._new |= {tensor.untyped_storage().data_ptr() for tensor in _tensors((result,))} - old
        return result

    def _count(self, part: str, packet: Any, args: Any, more: Any, result: Any) -> None:
        work = self.by_part.setdefault(part, PartWork())
        operations = int(flop_registry[packet](*args, **more, out_val=result))
        first = next(iter(_tensors((result,))), None)
        if first is not None and operations:
            work.add(str(first.dtype).removeprefix("torch."), operations)
        for tensor in _tensors(args):
            address = tensor.untyped_storage().data_ptr()
            if address in self._new:
                continue
            size = tensor.numel() * tensor.element_size()
            work.bytes_read += size
            seen = self._seen.setdefault(part, set())
            if tensor.data_ptr() not in seen:
                seen.add(tensor.data_ptr())
                work.weights_bytes += size


def _tensors(values: Any) -> list[Any]:
    return [
        tensor
        for value in values
        for tensor in (value if isinstance(value, tuple | list) else (value,))
        if isinstance(tensor, torch.Tensor)
    ]
