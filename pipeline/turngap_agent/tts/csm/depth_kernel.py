"""The whole depth decoder of a frame as one kernel in Triton: all steps, without the end of a launch between them.

Each multiprocessor runs one program. The programs compute a step's products together, a share of the rows each, and
wait for each other where one product needs the results of all: five times a layer and once for the head, in a counter
in memory. Norms and the drawing of the code are computed by every program, which is faster than waiting once more.
Weights are read from memory in every step, as they are without the kernel: they are larger than all caches.

An option, off by default. Torch's operations (`depth.DepthDecoder`) are the reference that it equals: tests run it in
Triton's interpreter, one program alone, and two at once as two processes. It has not run on a GPU yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from turngap_agent.tts.csm.kernels import attend_head, choose_rounding, draw_code

if TYPE_CHECKING:
    from turngap_agent.tts.csm.depth import DepthDecoder

_BLOCK_ROWS, _BLOCK_COLUMNS, _WARPS = 4, 1024, 8
"""Rows of a matrix that a program computes at once, columns that it reads at once, and its warps. Not tuned."""
_BLOCK_PLACES = 32


class DepthKernel:
    """The addresses of a depth decoder's weights, and the memory in which the programs exchange results."""

    def __init__(self, depth: DepthDecoder, rows: int = _BLOCK_ROWS) -> None:
        """`rows`: how many rows of a matrix a program computes at once."""
        self._rows = rows
        stack, device, dtype = depth.stack, depth.table.device, depth.table.dtype
        self._depth = depth
        hidden, codes = depth.heads.shape[2], depth.heads.shape[1]
        inner = stack.layers[0].down.shape[1]
        self.programs = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
        # Layers are read in a loop: their matrices are found through a table of addresses.
        self._weights = torch.tensor([[part.data_ptr() for part in layer] for layer in stack.layers], device=device)
        self._caches = torch.tensor([[part.data_ptr() for part in pair] for pair in depth.cache], device=device)
        self._heads = depth.heads.contiguous()
        self._vocabulary = len(depth.table) // depth.codebooks
        attended = stack.heads * stack.head_dim
        sizes = (hidden, attended + 2 * stack.kv_heads * stack.head_dim, attended, inner, codes)
        self.buffers = tuple(torch.zeros(size, device=device, dtype=dtype) for size in sizes)
        """Of a step, by one program and read by all: a product to add, projections, attention, inner state, logits."""
        self.counter = torch.zeros(1, dtype=torch.int32, device=device)
        self.codes = torch.zeros(depth.codebooks, dtype=torch.long, device=device)

    def decode_frame(self, hidden: Tensor, code: Tensor, noise: Tensor) -> Tensor:
        """Return a frame's codes (codebooks,), as `DepthDecoder.decode_frame` does; the tensor is the kernel's own."""
        self.counter.zero_()
        self.run_programs(hidden, code, noise, 0, self.programs)
        return self.codes

    def run_programs(self, hidden: Tensor, code: Tensor, noise: Tensor, first: int, count: int) -> None:
        """Run `count` of all programs from number `first` on; they wait for the others, so those must run, too."""
        depth, stack = self._depth, self._depth.stack
        sampling, width = depth.sampling, depth.heads.shape[2]
        top_k = 1 if sampling.greedy else sampling.top_k
        _decode_kernel[(count,)](
            self._weights,
            self._caches,
            depth.projection,
            depth.table,
            stack.norm,
            self._heads,
            stack.cos,
            stack.sin,
            hidden,
            code,
            noise,
            self.codes,
            *self.buffers,
            self.counter,
            first,
            1.0 if sampling.greedy else 1.0 / sampling.temperature,
            top_k,
            self._vocabulary,
            stack.head_dim**-0.5,
            stack.eps,
            LAYERS=len(stack.layers),
            CODEBOOKS=depth.codebooks,
            HIDDEN=width,
            BACKBONE=hidden.shape[1],
            INNER=len(self.buffers[3]),
            HEADS=stack.heads,
            KV_HEADS=stack.kv_heads,
            DIM=stack.head_dim,
            PLACES=len(stack.places),
            CODES=depth.heads.shape[1],
            NOISE=noise.stride(0),
            BLOCK_HIDDEN=triton.next_power_of_2(width),
            BLOCK_CODES=triton.next_power_of_2(depth.heads.shape[1]),
            RANKS=max(2, triton.next_power_of_2(top_k)),
            ROWS=self._rows,
            COLUMNS=_BLOCK_COLUMNS,
            BLOCK_PLACES=_BLOCK_PLACES,
            PROGRAMS=self.programs,
            num_warps=_WARPS,
            launch_cooperative_grid=True,  # or programs that do not fit would be waited for in vain
            **choose_rounding(),
        )


@triton.jit
def _decode_kernel(
    weights, caches, projection, table, final_norm, heads, cos, sin, hidden, first_code, noise, codes,
    product, qkv, attended, inner, logits, counter, first, sharpness, top_k, vocabulary, scale, eps,
    LAYERS: tl.constexpr, CODEBOOKS: tl.constexpr, HIDDEN: tl.constexpr, BACKBONE: tl.constexpr, INNER: tl.constexpr,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, DIM: tl.constexpr, PLACES: tl.constexpr, CODES: tl.constexpr,
    NOISE: tl.constexpr, BLOCK_HIDDEN: tl.constexpr, BLOCK_CODES: tl.constexpr, RANKS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK_PLACES: tl.constexpr, PROGRAMS: tl.constexpr,
):  # fmt: skip
    program = first + tl.program_id(0)
    index = tl.arange(0, BLOCK_HIDDEN)
    inside = index < HIDDEN
    passed = tl.full((), 0, tl.int32)
    code = tl.load(first_code)
    if program == 0:
        tl.store(codes, code)
    _multiply(hidden, projection, product, HIDDEN, program, BACKBONE, ROWS, COLUMNS, PROGRAMS)
    passed = _wait_for_all(counter, passed, PROGRAMS)
    x = tl.load(product + index, mask=inside, other=0.0, cache_modifier=".cg").to(tl.float32)
    for place in range(CODEBOOKS):
        if place > 0:
            x = tl.load(table + (code + (place - 1) * vocabulary) * HIDDEN + index, mask=inside, other=0.0).to(
                tl.float32
            )
        for layer in range(LAYERS):
            parts = weights + layer * 6
            normed = _normalise(x, _address(parts, table), eps, HIDDEN, BLOCK_HIDDEN)
            _multiply_vector(
                normed, _address(parts + 1, table), qkv, (HEADS + 2 * KV_HEADS) * DIM, program,
                HIDDEN, BLOCK_HIDDEN, ROWS, PROGRAMS
            )  # fmt: skip
            passed = _wait_for_all(counter, passed, PROGRAMS)
            for head in range(program, HEADS, PROGRAMS):
                attend_head(
                    qkv, cos + place * DIM, sin + place * DIM, _address(caches + layer * 2, table),
                    _address(caches + layer * 2 + 1, table), place, attended, scale, head,
                    HEADS, KV_HEADS, PLACES, DIM, BLOCK_PLACES
                )  # fmt: skip
            passed = _wait_for_all(counter, passed, PROGRAMS)
            _multiply(
                attended, _address(parts + 2, table), product, HIDDEN, program, HEADS * DIM, ROWS, COLUMNS, PROGRAMS
            )
            passed = _wait_for_all(counter, passed, PROGRAMS)
            x = _add(x, product, index, inside)
            normed = _normalise(x, _address(parts + 3, table), eps, HIDDEN, BLOCK_HIDDEN)
            _gate(normed, _address(parts + 4, table), inner, program, INNER, HIDDEN, BLOCK_HIDDEN, ROWS, PROGRAMS)
            passed = _wait_for_all(counter, passed, PROGRAMS)
            _multiply(inner, _address(parts + 5, table), product, HIDDEN, program, INNER, ROWS, COLUMNS, PROGRAMS)
            passed = _wait_for_all(counter, passed, PROGRAMS)
            x = _add(x, product, index, inside)
        if place > 0:
            normed = _normalise(x, final_norm, eps, HIDDEN, BLOCK_HIDDEN)
            head_rows = heads + (place - 1) * CODES * HIDDEN
            _multiply_vector(normed, head_rows, logits, CODES, program, HIDDEN, BLOCK_HIDDEN, ROWS, PROGRAMS)
            passed = _wait_for_all(counter, passed, PROGRAMS)
            code = draw_code(logits, noise + place * NOISE, CODES, sharpness, top_k, BLOCK_CODES, RANKS)
            if program == 0:
                tl.store(codes + place, code)


@triton.jit
def _wait_for_all(counter, passed, PROGRAMS: tl.constexpr):
    """Wait until every program is here; what each wrote before is then read by all. Return the new count."""
    tl.debug_barrier()  # every thread of this program is here
    tl.atomic_add(counter, 1, sem="release")
    while tl.atomic_add(counter, 0, sem="acquire") < passed + PROGRAMS:
        pass
    tl.debug_barrier()
    return passed + PROGRAMS


@triton.jit
def _address(entry, like):
    """Return the address in a table's entry as a pointer to numbers as those of `like`."""
    return tl.multiple_of(tl.load(entry).to(like.dtype), 16)


@triton.jit
def _normalise(x, weight, eps, HIDDEN: tl.constexpr, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    factor = tl.load(weight + index, mask=index < HIDDEN, other=0.0)
    normed = x * tl.rsqrt(tl.sum(x * x) / HIDDEN + eps)
    return (normed * factor.to(tl.float32)).to(factor.dtype).to(tl.float32)


@triton.jit
def _add(x, product, index, inside):
    """Return `x` and the product of all programs, rounded as a tensor of its numbers is."""
    more = tl.load(product + index, mask=inside, other=0.0, cache_modifier=".cg")
    return (x + more.to(tl.float32)).to(more.dtype).to(tl.float32)


@triton.jit
def _multiply_vector(
    x, weight, out, rows, program, HIDDEN: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, PROGRAMS: tl.constexpr
):  # fmt: skip
    """Write this program's rows of `weight` (rows, HIDDEN) times the vector `x`."""
    for start in range(program * ROWS, rows, PROGRAMS * ROWS):
        row = start + tl.arange(0, ROWS)
        total = _dot_rows(x, weight, row, row < rows, HIDDEN, BLOCK)
        tl.store(out + row, total.to(out.dtype.element_ty), mask=row < rows)


@triton.jit
def _dot_rows(x, weight, row, inside, HIDDEN: tl.constexpr, BLOCK: tl.constexpr):
    column = tl.arange(0, BLOCK)
    mask = inside[:, None] & (column < HIDDEN)[None, :]
    part = tl.load(weight + row[:, None].to(tl.int64) * HIDDEN + column[None, :], mask=mask, other=0.0)
    return tl.sum(part.to(tl.float32) * x[None, :], axis=1)


@triton.jit
def _gate(
    x, weight, out, program, INNER: tl.constexpr, HIDDEN: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
    PROGRAMS: tl.constexpr,
):  # fmt: skip
    """Write this program's rows of SiLU(gate) times up; the upper half of `weight` is the gate's."""
    for start in range(program * ROWS, INNER, PROGRAMS * ROWS):
        row = start + tl.arange(0, ROWS)
        gate = _dot_rows(x, weight, row, row < INNER, HIDDEN, BLOCK).to(out.dtype.element_ty).to(tl.float32)
        up = _dot_rows(x, weight, row + INNER, row < INNER, HIDDEN, BLOCK).to(out.dtype.element_ty).to(tl.float32)
        active = (gate / (1.0 + tl.exp(-gate))).to(out.dtype.element_ty).to(tl.float32)
        tl.store(out + row, (active * up).to(out.dtype.element_ty), mask=row < INNER)


@triton.jit
def _multiply(
    x, weight, out, rows, program, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    PROGRAMS: tl.constexpr,
):  # fmt: skip
    """Write this program's rows of `weight` (rows, WIDTH) times `x` (WIDTH,), which others may have written."""
    for start in range(program * ROWS, rows, PROGRAMS * ROWS):
        row = start + tl.arange(0, ROWS)
        total = tl.zeros((ROWS,), tl.float32)
        for begin in range(0, WIDTH, COLUMNS):
            column = begin + tl.arange(0, COLUMNS)
            part = tl.load(x + column, mask=column < WIDTH, other=0.0, cache_modifier=".cg").to(tl.float32)
            mask = (row < rows)[:, None] & (column < WIDTH)[None, :]
            piece = tl.load(weight + row[:, None].to(tl.int64) * WIDTH + column[None, :], mask=mask, other=0.0)
            total += tl.sum(piece.to(tl.float32) * part[None, :], axis=1)
        tl.store(out + row, total.to(out.dtype.element_ty), mask=row < rows)
