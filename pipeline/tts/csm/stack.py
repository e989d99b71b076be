"""A Llama stack with fixed shapes: static keys and values, positions as device tensors, nothing read back by the host.

Both of CSM's transformers are such stacks. A step has the same shapes whatever its position, so that it can be captured
into a CUDA graph once and replayed for every frame. Projections that read the same input are fused into one matrix.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

KeyValues = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each layer, each of shape (kv_heads, positions, head_dim). One tensor a layer, never one for all:
a compiled step then writes them in place instead of copying the whole cache."""


class Layer(NamedTuple):
    """The weights of one layer; a matrix has the shape (out, in)."""

    attention_norm: Tensor
    qkv: Tensor
    output: Tensor
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor


class LlamaStack:
    """The layers and final norm of a decoder, over `positions` places of rotary embedding."""

    def __init__(self, decoder: Any, config: Any, positions: int) -> None:
        """Takes over the weights of `decoder` (a transformers Csm*Model), which from then on shares the fused storage.

        Raises:
            ValueError: the architecture has biases or an activation that this stack does not have.
        """
        if config.attention_bias or config.mlp_bias or config.hidden_act != "silu":
            raise ValueError("a Llama stack without biases and with SiLU was expected")
        self.heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.head_dim: int = config.head_dim
        self.eps: float = config.rms_norm_eps
        self.layers = tuple(_fused(layer) for layer in decoder.layers)
        self.norm: Tensor = decoder.norm.weight.data
        device, dtype = self.norm.device, self.norm.dtype
        rotary = decoder.rotary_emb
        cos, sin = rotary_tables(rotary.inv_freq.to(device), positions)
        self.cos, self.sin = (cos * rotary.attention_scaling).to(dtype), (sin * rotary.attention_scaling).to(dtype)
        self.places = torch.arange(positions, device=device)

    def cache(self) -> KeyValues:
        """Empty keys and values for every position."""
        shape = (self.kv_heads, len(self.places), self.head_dim)
        options: dict[str, Any] = {"device": self.norm.device, "dtype": self.norm.dtype}
        return tuple((torch.zeros(shape, **options), torch.zeros(shape, **options)) for _ in self.layers)

    def forward(self, x: Tensor, cache: KeyValues, positions: Tensor, window: int) -> Tensor:
        """Rows `x` (T, hidden) at `positions` (T,) after all layers and the final norm, shape (T, hidden).

        Writes the rows' keys and values into `cache`, and attends to its first `window` places, as far as each row's
        own position: what lies beyond it, stale or never written, has no weight.
        """
        cos = self.cos.index_select(0, positions).unsqueeze(1)
        sin = self.sin.index_select(0, positions).unsqueeze(1)
        hidden_places = (self.places[:window] > positions.unsqueeze(1)).repeat(self.heads // self.kv_heads, 1)
        for layer, (keys, values) in zip(self.layers, cache, strict=True):
            qkv = F.linear(self._normed(x, layer.attention_norm), layer.qkv).view(len(x), -1, self.head_dim)
            turning, value = qkv.split((self.heads + self.kv_heads, self.kv_heads), dim=1)
            query, key = rotated(turning, cos, sin).split((self.heads, self.kv_heads), dim=1)
            keys.index_copy_(1, positions, key.transpose(0, 1))
            values.index_copy_(1, positions, value.transpose(0, 1))
            attended = self._attend(query, keys[:, :window], values[:, :window], hidden_places)
            x = x + F.linear(attended, layer.output)
            gate, up = F.linear(self._normed(x, layer.mlp_norm), layer.gate_up).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, layer.down)
        return self._normed(x, self.norm)

    def bytes_read(self) -> int:
        """Bytes of weights that one step reads."""
        return sum(weight.numel() * weight.element_size() for layer in self.layers for weight in layer)

    def _attend(self, query: Tensor, keys: Tensor, values: Tensor, hidden_places: Tensor) -> Tensor:
        """Attention as two batched products: torch's fused kernels take no mask together with grouped heads."""
        rows, groups = len(query), self.heads // self.kv_heads
        # (T, heads, dim) → (kv_heads, groups·T, dim): the heads of one group share their keys
        query = query.reshape(rows, self.kv_heads, groups, self.head_dim).permute(1, 2, 0, 3)
        query = query.reshape(self.kv_heads, groups * rows, self.head_dim)
        scores = torch.bmm(query, keys.transpose(1, 2)).float() * self.head_dim**-0.5
        weights = scores.masked_fill(hidden_places, float("-inf")).softmax(dim=-1).to(values.dtype)
        heads = torch.bmm(weights, values).view(self.kv_heads, groups, rows, self.head_dim)
        return heads.permute(2, 0, 1, 3).reshape(rows, -1)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), weight, self.eps)


def rotary_tables(frequencies: Tensor, positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (positions, head_dim) for `rotated`, from inverse frequencies (head_dim / 2,)."""
    places = torch.arange(positions, device=frequencies.device, dtype=torch.float32)
    angles = torch.outer(places, frequencies.float())
    return torch.cat((angles.cos(), angles.cos()), dim=-1), torch.cat((-angles.sin(), angles.sin()), dim=-1)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of `x` (..., head_dim) in Llama's order, where the halves of a head are the pairs.

    The sign of the first half's partner is in the table: one roll does what slicing, negating and joining would.
    """
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * sin


def _fused(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    qkv = _shared(attention.q_proj, attention.k_proj, attention.v_proj)
    gate_up = _shared(mlp.gate_proj, mlp.up_proj)
    return Layer(
        attention_norm=layer.input_layernorm.weight.data,
        qkv=qkv,
        output=attention.o_proj.weight.data,
        mlp_norm=layer.post_attention_layernorm.weight.data,
        gate_up=gate_up,
        down=mlp.down_proj.weight.data,
    )


def _shared(*projections: Any) -> Tensor:
    """One matrix over the rows of all `projections`, which become views of it: no weight is in memory twice."""
    fused = torch.cat([projection.weight.data for projection in projections])
    parts = fused.split([len(projection.weight) for projection in projections])
    for projection, part in zip(projections, parts, strict=True):
        projection.weight.data = part
    return fused
