"""The torch device that an engine runs on, and how it runs there: eagerly, as CUDA graphs, or compiled into graphs.

A frame of speech is thousands of kernels of microseconds each: launched one by one from Python they take many times
what the GPU needs. A CUDA graph launches all kernels of a unit with one call; `torch.compile` makes fewer of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import torch

from turngap_agent.device import amx
from turngap_agent.errors import EngineError, one_line
from turngap_agent.gpu.driver import Driver, why_unreachable

if TYPE_CHECKING:
    from turngap_agent.engines import StreamPriority

STREAM_LEVELS: dict[StreamPriority, int] = {"high": -1, "normal": 0}
"""torch's priority of each stream; the lower number goes first."""
WARM_UP_RUNS = 3
"""Runs of a unit before its capture: libraries allocate workspaces and choose algorithms in their first runs."""
DEPENDENT_LAUNCH = "triton.enable_pdl"
"""Inductor's option, in some releases of torch, for CUDA's programmatic dependent launch."""
HOPPER = (9, 0)
"""The first compute capability with dependent launches."""


def select_device(name: str, engine: str, section: str) -> torch.device:
    """Return torch's device called `name`, for an engine and its section of the profile.

    Raises:
        EngineError: there is no such device.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise EngineError(f"{engine}: no device is called {name!r}; set {section}.device to cuda or cpu") from None
    amx.hide_from_torch(torch.cpu)
    if device.type != "cuda":
        return device
    if not torch.cuda.is_available():
        reason = why_unreachable(torch.version.cuda, Driver.read())
        raise EngineError(
            f"{engine}: {section}.device is {name}, but torch sees no NVIDIA GPU: {reason}; or set {section}.device: "
            "cpu (far slower than real time)"
        )
    return device


def open_cuda_context(name: str, engine: str, section: str) -> None:
    """Start CUDA on the device called `name`, so that the memory of its context counts for no engine.

    Raises:
        EngineError: there is no such device.
    """
    torch.zeros(1, device=select_device(name, engine, section))


class CaptureError(EngineError):
    """The capture of a unit failed: the process can no longer be relied on, in any mode.

    torch's allocator stays registered with a capture that was broken off (pytorch/c10/cuda, `beginAllocateToPool`),
    and CUDA may report the failed capture to the next one.
    """


class Mode(StrEnum):
    """How units run."""

    EAGER = "eager"
    GRAPHS = "graphs"
    COMPILED = "compiled"


class Execution:
    """Runs units on one device in one mode. Every use of the device is inside `activate`."""

    def __init__(
        self,
        device: torch.device,
        mode: Mode,
        compiler: str | Callable[..., Any] = "inductor",
        priority: StreamPriority = "high",
        forks: bool = False,
        dependent_launch: bool = False,
    ) -> None:
        """`forks`: whether work of `fork` runs on a stream of its own, beside later work; else it is part of it.

        `dependent_launch`: whether compiled kernels are launched before the one before them has ended.

        Raises:
            EngineError: dependent launches are not possible here.
        """
        self.device = device
        self.mode = mode
        self._compiler = compiler
        if dependent_launch:
            _require_dependent_launch(device, mode)
        self._dependent_launch = dependent_launch
        self._graphed = device.type == "cuda" and mode is not Mode.EAGER
        self.priority: StreamPriority = priority
        # A hint that CUDA follows between the kernels of one process: no running kernel is interrupted.
        level = STREAM_LEVELS[priority]
        self._stream: Any = torch.cuda.Stream(device, priority=level) if device.type == "cuda" else None
        self._side: Any = torch.cuda.Stream(device, priority=level) if forks and device.type == "cuda" else None
        # Graphs of one pool reuse each other's memory: those that may run at once must not share it.
        self._side_pool: Any = torch.cuda.graph_pool_handle() if self._graphed and self._side is not None else None
        self._pool: Any = torch.cuda.graph_pool_handle() if self._graphed else None
        if device.type == "cuda":
            # For the whole process: TF32 would leave the codec's convolutions 10 bits of mantissa.
            torch.backends.cudnn.allow_tf32 = False
        self._fused: dict[Callable[..., Any], Callable[..., Any]] = {}
        self.graph_count = 0
        """How many graphs were captured."""

    @property
    def lookahead(self) -> int:
        """How many frames to launch before the first is read: only with graphs does launching cost the host nothing."""
        return int(self._graphed)

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Make this thread use the device as units expect: without autograd, on the engine's own stream.

        Work queued inside starts after what this thread queued before, such as the loading of weights.
        """
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if self._stream is not None:
                stack.enter_context(torch.cuda.device(self.device))
                self._stream.wait_stream(torch.cuda.current_stream())
                stack.enter_context(torch.cuda.stream(self._stream))
            yield

    def fuse(self, function: Callable[..., Any], tuned: bool = False) -> Callable[..., Any]:
        """Return `function`, compiled where the mode is COMPILED: without a graph break, once for each set of shapes.

        `tuned` is for products with one row. Inductor then writes them as reductions, fused with the operations around
        them and tuned by coordinate descent; they read weights faster than a library's general product. Tuning takes
        long, and gains nothing elsewhere.
        """
        if self.mode is not Mode.COMPILED:
            return function
        if function not in self._fused:
            options: dict[str, bool] = {}
            if tuned and self.device.type == "cuda":
                options["coordinate_descent_tuning"] = True
            if self._dependent_launch:
                options[DEPENDENT_LAUNCH] = True
            self._fused[function] = torch.compile(
                function, fullgraph=True, dynamic=False, backend=self._compiler, options=options or None
            )
        return self._fused[function]

    def fork(self, work: Callable[[], None]) -> Callable[[], None]:
        """Run `work` after what was queued so far, beside what is queued later; the function returned makes that wait.

        Its units must be prepared with `forked=True`.
        """
        if self._side is None:
            work()
            return _return_at_once
        self._side.wait_stream(self._stream)
        with torch.cuda.stream(self._side):
            work()
            done = torch.cuda.Event()
            done.record(self._side)
        return lambda: self._stream.wait_event(done)

    def prepare_unit(self, run: Callable[[], None], *, forked: bool = False) -> Callable[[], None]:
        """Return what to call instead of `run` from now on.

        Preparing runs it a few times: reset the state that it writes afterwards. `run` has no arguments and returns
        nothing; it reads and writes tensors that stay in place, so that a graph of it can be replayed. All graphs share
        one memory pool, those of `forked` units another; no result of a unit may live in memory of a pool.

        Raises:
            CaptureError: the unit ran, and its capture failed. What `run` raises before that is raised unchanged.
        """
        if not self._graphed:
            if self.mode is Mode.COMPILED:
                run()
            return run
        stream, pool = self._stream, self._pool
        with ExitStack() as stack:
            if forked and self._side is not None:
                stream, pool = self._side, self._side_pool
                stream.wait_stream(self._stream)
                stack.enter_context(torch.cuda.stream(stream))
            for _ in range(WARM_UP_RUNS):
                run()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # thread_local: other threads may use the GPU meanwhile
        try:
            with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                run()
        except Exception as error:
            raise CaptureError(
                f"a CUDA graph could not be captured ({one_line(error, 200)}); start again without graphs"
            ) from error
        self.graph_count += 1
        replay: Callable[[], None] = graph.replay
        return replay

    def record_event(self) -> Callable[[], None]:
        """Mark this point of the device's work; the function that is returned waits until the device has reached it."""
        if self._stream is None:
            return _return_at_once
        event = torch.cuda.Event()
        event.record(self._stream)
        wait: Callable[[], None] = event.synchronize
        return wait

    def copy_to_host(self, source: torch.Tensor, host: torch.Tensor) -> Callable[[], None]:
        """Queue a copy of `source` into `host`, from `allocate_host_buffer`; the function returned waits for it."""
        host.copy_(source, non_blocking=True)
        if self._stream is None:
            return _return_at_once
        event = torch.cuda.Event()
        event.record()  # on the current stream: the engine's, or inside `fork` that of the fork
        wait: Callable[[], None] = event.synchronize
        return wait

    def allocate_host_buffer(self, *shape: int) -> torch.Tensor:
        """Return a float32 tensor in host memory that the device can copy to without blocking the host."""
        return torch.zeros(shape, pin_memory=self._stream is not None)


def _require_dependent_launch(device: torch.device, mode: Mode) -> None:
    """Raise EngineError where Inductor would leave the option out without a word."""
    if mode is not Mode.COMPILED:
        why = f"only compiled kernels have them, and the mode is {mode}"
    elif device.type != "cuda" or torch.cuda.get_device_capability(device) < HOPPER:
        why = "they need an NVIDIA GPU of compute capability 9.0"
    elif not has_dependent_launch():
        why = f"the compiler of torch {torch.__version__} has no option {DEPENDENT_LAUNCH}"
    else:
        return
    raise EngineError(f"dependent launches are not possible ({why}); set tts.dependent_launch: false")


def has_dependent_launch() -> bool:
    """Return whether this torch's compiler can launch kernels before the one before has ended."""
    from torch._inductor import config

    section, _, name = DEPENDENT_LAUNCH.partition(".")
    return hasattr(getattr(config, section), name)


def _return_at_once() -> None:
    """Wait for nothing: a CPU has finished its work by the time this is called."""
