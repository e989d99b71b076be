"""How the loop's units run: as they are, as CUDA graphs, or compiled and then as CUDA graphs.

A frame is thousands of kernels of microseconds each: launched one by one from Python they take many times what the GPU
needs. A CUDA graph launches a unit's kernels with one call; `torch.compile` makes fewer of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from turngap_agent.engines import StreamPriority

STREAM_LEVELS: dict[StreamPriority, int] = {"high": -1, "normal": 0}
"""torch's levels: the lower number goes first."""
WARM_UP_RUNS = 3
"""Before a capture: the libraries allocate workspaces and choose algorithms in their first runs."""


class Mode(StrEnum):
    """How units run."""

    EAGER = "eager"
    GRAPHS = "graphs"
    COMPILED = "compiled"


class Execution:
    """Runs units on one device in one mode; every use of the device goes through `active`."""

    def __init__(
        self,
        device: torch.device,
        mode: Mode,
        compiler: str | Callable[..., Any] = "inductor",
        priority: StreamPriority = "high",
    ) -> None:
        self.device = device
        self.mode = mode
        self._compiler = compiler
        self._graphed = device.type == "cuda" and mode is not Mode.EAGER
        self.priority: StreamPriority = priority
        # A hint that CUDA follows between kernels of one process: none is interrupted.
        level = STREAM_LEVELS[priority]
        self._stream: Any = torch.cuda.Stream(device, priority=level) if device.type == "cuda" else None
        self._pool: Any = torch.cuda.graph_pool_handle() if self._graphed else None
        if device.type == "cuda":
            # For the whole process: TF32 would leave the codec's convolutions 10 bits of mantissa.
            torch.backends.cudnn.allow_tf32 = False
        self._fused: dict[Callable[..., Any], Callable[..., Any]] = {}
        self.captured = 0
        """How many graphs were captured."""

    @property
    def lookahead(self) -> int:
        """How many frames to launch before the first is read: launching costs the host nothing only with graphs."""
        return int(self._graphed)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Makes this thread use the device as units expect it: no autograd, and the engine's own stream.

        Work queued there begins after what this thread had queued before, the loading of weights for one.
        """
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if self._stream is not None:
                stack.enter_context(torch.cuda.device(self.device))
                self._stream.wait_stream(torch.cuda.current_stream())
                stack.enter_context(torch.cuda.stream(self._stream))
            yield

    def fuse(self, function: Callable[..., Any], tuned: bool = False) -> Callable[..., Any]:
        """`function`, compiled where the mode says so: without a graph break, once for each set of shapes.

        `tuned` is for products with one row: Inductor then writes them as reductions of its own, fused with what is
        around them and tuned by coordinate descent, which read weights faster than a library's general product.
        Tuning takes long, and gains nothing elsewhere.
        """
        if self.mode is not Mode.COMPILED:
            return function
        if function not in self._fused:
            options = {"coordinate_descent_tuning": True} if tuned and self.device.type == "cuda" else None
            self._fused[function] = torch.compile(
                function, fullgraph=True, dynamic=False, backend=self._compiler, options=options
            )
        return self._fused[function]

    def unit(self, run: Callable[[], None]) -> Callable[[], None]:
        """What to call instead of `run` from now on. Runs it a few times: reset the state it writes afterwards.

        `run` takes nothing and gives nothing: it reads and writes tensors that stay where they are, so that a graph of
        it can be replayed. All graphs share one pool; no result of one may live in memory of the pool.
        """
        if not self._graphed:
            if self.mode is Mode.COMPILED:
                run()
            return run
        for _ in range(WARM_UP_RUNS):
            run()
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # thread_local: other threads may use the GPU meanwhile
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            run()
        self.captured += 1
        replay: Callable[[], None] = graph.replay
        return replay

    def mark(self) -> Callable[[], None]:
        """Remembers this point of the device's work; calling what it gives waits until the device has reached it."""
        if self._stream is None:
            return _nothing
        event = torch.cuda.Event()
        event.record(self._stream)
        wait: Callable[[], None] = event.synchronize
        return wait

    def host_buffer(self, *shape: int) -> torch.Tensor:
        """A float32 tensor in host memory that the device can copy to while the host goes on."""
        return torch.zeros(shape, pin_memory=self._stream is not None)


def _nothing() -> None:
    """A CPU has done its work by the time it is asked."""
