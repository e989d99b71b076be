"""Fused kernels in Triton, each of which replaces a chain of torch's operations in a frame. Options; off by default.

`sample` draws a code in one kernel instead of ten operations, 32 times a frame. `attend_row` is a decode step's
attention, from the projected row to the attended one, in one kernel a layer instead of a dozen operations.
`multiply_int8` is a product of one row that reads its matrix as 8-bit integers. Torch's operations (`sampling.sample`,
`stack.LlamaStack`, `int8.multiply`) stay the reference that they equal: tests run them in Triton's interpreter, which
needs no GPU. None has run on a GPU yet.
"""

from __future__ import annotations

import os

import torch
import triton
import triton.language as tl
from torch import Tensor

os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "0")
# For launches inside a compiled unit, which take no option for it; Inductor sets its own kernels' explicitly.

_BLOCK_PLACES = 64
"""Keys that one step of the attention's loop reads."""
_BLOCK_ROWS, _BLOCK_COLUMNS = 8, 512
"""Of a matrix, what one program computes, and what one step of its loop reads. Not tuned on a GPU."""


def sample(logits: Tensor, noise: Tensor, temperature: float, top_k: int) -> Tensor:
    """Return a code (1,) for `logits` (1, codes), with uniform `noise` (1, at least top_k) by rank.

    As `sampling.sample` does. Logits are ordered by an integer that contains the code, so that one sort yields both.
    """
    code = torch.empty(1, dtype=torch.long, device=logits.device)
    codes = logits.shape[-1]
    _sample_kernel[(1,)](
        logits,
        noise,
        code,
        codes,
        1.0 / temperature,
        top_k,
        BLOCK=triton.next_power_of_2(codes),
        RANKS=max(2, triton.next_power_of_2(top_k)),  # a sort of one rank has no shape in some releases
        num_warps=4,
        **choose_rounding(),
    )
    return code


@triton.jit
def _sample_kernel(
    logits, noise, code, codes, sharpness, top_k, BLOCK: tl.constexpr, RANKS: tl.constexpr
):  # fmt: skip
    tl.store(code, draw_code(logits, noise, codes, sharpness, top_k, BLOCK, RANKS))


@triton.jit
def draw_code(
    logits, noise, codes, sharpness, top_k, BLOCK: tl.constexpr, RANKS: tl.constexpr
):  # fmt: skip
    """Return the code that the noise draws from the likeliest `top_k` of `logits` (codes,)."""
    index = tl.arange(0, BLOCK)
    values = tl.load(logits + index, mask=index < codes, other=float("-inf"), cache_modifier=".cg").to(tl.float32)
    bits = values.to(tl.int32, bitcast=True)
    # Floats in the order of integers: negative ones have their other bits inverted.
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    keys = (ordered.to(tl.int64) << 32) | (BLOCK - 1 - index).to(tl.int64)
    best = tl.topk(keys, RANKS)
    ranked_bits = (best >> 32).to(tl.int32)
    ranked = (ranked_bits ^ ((ranked_bits >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)
    ranked_codes = BLOCK - 1 - (best & 0xFFFFFFFF)
    rank = tl.arange(0, RANKS)
    uniform = tl.load(noise + rank, mask=rank < top_k, other=0.5)
    uniform = tl.minimum(tl.maximum(uniform, 1e-9), 1 - 1e-7)
    score = ranked * sharpness - tl.log(-tl.log(uniform))
    score = tl.where(rank < top_k, score, float("-inf"))
    chosen = tl.argmax(score, axis=0)
    return tl.sum(tl.where(rank == chosen, ranked_codes, 0))


def attend_row(
    qkv: Tensor, cos: Tensor, sin: Tensor, keys: Tensor, values: Tensor, position: Tensor, heads: int
) -> Tensor:
    """Return the attention of one row (1, heads · dim) from its projections `qkv` (1, (heads + 2 · kv_heads) · dim).

    Rotates query and key by `cos` and `sin` (1, dim), writes key and value into `keys` and `values` (kv_heads, places,
    dim) at `position` (1,), and attends to the places up to it, and reads no others.
    """
    kv_heads, places, dim = keys.shape
    out = torch.empty(1, heads * dim, dtype=qkv.dtype, device=qkv.device)
    _attend_kernel[(heads,)](
        qkv,
        cos,
        sin,
        keys,
        values,
        position,
        out,
        dim**-0.5,
        HEADS=heads,
        KV_HEADS=kv_heads,
        PLACES=places,
        DIM=dim,
        BLOCK=min(_BLOCK_PLACES, triton.next_power_of_2(places)),
        num_warps=4,
        **choose_rounding(),
    )
    return out


@triton.jit
def _attend_kernel(
    qkv, cos, sin, keys, values, position, out, scale,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, PLACES: tl.constexpr, DIM: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    attend_head(
        qkv,
        cos,
        sin,
        keys,
        values,
        tl.load(position),
        out,
        scale,
        tl.program_id(0),
        HEADS,
        KV_HEADS,
        PLACES,
        DIM,
        BLOCK,
    )


@triton.jit
def attend_head(
    qkv, cos, sin, keys, values, at, out, scale, head,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, PLACES: tl.constexpr, DIM: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Store one head of the row at place `at`, and write its attention to `out`; `cos` and `sin` are the place's."""
    kv_head = head // (HEADS // KV_HEADS)
    index = tl.arange(0, DIM)
    partner = (index + DIM // 2) % DIM
    cosine, sine = tl.load(cos + index), tl.load(sin + index)
    query_row, key_row = qkv + head * DIM, qkv + (HEADS + kv_head) * DIM
    # Products and sum are rounded one by one, as torch's operations round them: launches turn fused multiply-adds off.
    query = (load_new(query_row + index) * cosine + load_new(query_row + partner) * sine).to(tl.float32)
    own_key = load_new(key_row + index) * cosine + load_new(key_row + partner) * sine
    own_value = load_new(qkv + (HEADS + KV_HEADS + kv_head) * DIM + index)
    cache = kv_head.to(tl.int64) * PLACES * DIM
    if head % (HEADS // KV_HEADS) == 0:  # one program of each group stores what all of them have
        tl.store(keys + cache + at * DIM + index, own_key)
        tl.store(values + cache + at * DIM + index, own_value)
    # Online softmax (Milakov and Gimelshein 2018), begun with the row's own key, which others may not see stored yet.
    top = tl.sum(query * own_key.to(tl.float32)) * scale
    total = tl.full((), 1.0, tl.float32)
    sum_ = own_value.to(tl.float32)
    for start in range(0, at, BLOCK):
        place = start + tl.arange(0, BLOCK)
        earlier = place < at
        offsets = cache + place[:, None] * DIM + index[None, :]
        key = tl.load(keys + offsets, mask=earlier[:, None], other=0.0).to(tl.float32)
        score = tl.where(earlier, tl.sum(key * query[None, :], axis=1) * scale, float("-inf"))
        higher = tl.maximum(top, tl.max(score))
        weight = tl.exp(score - higher)
        shrink = tl.exp(top - higher)
        value = tl.load(values + offsets, mask=earlier[:, None], other=0.0).to(tl.float32)
        sum_ = sum_ * shrink + tl.sum(weight[:, None] * value, axis=0)
        total = total * shrink + tl.sum(weight)
        top = higher
    tl.store(out + head * DIM + index, (sum_ / total).to(out.dtype.element_ty))


@triton.jit
def load_new(pointers):
    """Load what other multiprocessors may have written a moment ago: from the cache that all of them share."""
    return tl.load(pointers, cache_modifier=".cg")


def multiply_int8(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """Return one row `x` (1, in) times `weight` (out, in), 8-bit integers of which each row has its `scale` (out,)."""
    rows, columns = weight.shape
    out = torch.empty(1, rows, dtype=x.dtype, device=x.device)
    _multiply_kernel[(triton.cdiv(rows, _BLOCK_ROWS),)](
        x,
        weight,
        scale,
        out,
        rows,
        COLUMNS=columns,
        ROWS=_BLOCK_ROWS,
        BLOCK=_BLOCK_COLUMNS,
        num_warps=4,
        **choose_rounding(),
    )
    return out


@triton.jit
def _multiply_kernel(
    x, weight, scale, out, rows, COLUMNS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < rows
    total = tl.zeros((ROWS,), tl.float32)
    for start in range(0, COLUMNS, BLOCK):
        column = start + tl.arange(0, BLOCK)
        part = tl.load(x + column, mask=column < COLUMNS, other=0.0).to(tl.float32)
        offsets = row[:, None].to(tl.int64) * COLUMNS + column[None, :]
        mask = inside[:, None] & (column < COLUMNS)[None, :]
        total += tl.sum(tl.load(weight + offsets, mask=mask, other=0).to(tl.float32) * part[None, :], axis=1)
    total *= tl.load(scale + row, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row, total.to(out.dtype.element_ty), mask=inside)


def choose_rounding() -> dict[str, bool]:
    """Return the launch option that turns fused multiply-adds off; torch's compiler refuses it in what it traces."""
    return {} if torch.compiler.is_compiling() else {"enable_fp_fusion": False}


def is_interpreted() -> bool:
    """Return whether kernels run in Triton's interpreter (TRITON_INTERPRET=1), which needs no GPU."""
    return not isinstance(_sample_kernel, triton.JITFunction)
