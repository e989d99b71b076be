"""A Llama stack with fixed shapes: static keys and values, positions as device tensors, no value read by the host.

Both of CSM's transformers are such stacks. A step has the same shapes at every position, so that it can be captured
into a CUDA graph once and replayed for every frame. Projections that read the same input are fused into one matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from turngap_agent.device.attention import KeyValues, attend, fuse_projections, make_rotary_tables, rotate
from turngap_agent.tts.csm.int8 import Matrix, count_bytes, multiply, quantise


class LlamaLayer(NamedTuple):
    """The weights of one layer; a matrix has the shape (out, in)."""

    attention_norm: Tensor
    qkv: Matrix
    output: Matrix
    mlp_norm: Tensor
    gate_up: Matrix
    down: Matrix


class LlamaStack:
    """The layers and final norm of a decoder, over `positions` places of rotary embedding."""

    def __init__(
        self,
        decoder: Any,
        config: Any,
        positions: int,
        *,
        fused_attention: bool = False,
        int8: bool = False,
        fused_int8: bool = False,
    ) -> None:
        """Take the weights of `decoder` (a transformers Csm*Model), which then shares the fused storage.

        `fused_attention`: a step of one row attends in one kernel. `int8`: matrices are copied to 8-bit integers.
        `fused_int8`: their products of one row run in one kernel.

        Raises:
            ValueError: the architecture has biases or an activation that this stack does not have.
        """
        if config.attention_bias or config.mlp_bias or config.hidden_act != "silu":
            raise ValueError("a Llama stack without biases and with SiLU was expected")
        self.heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.head_dim: int = config.head_dim
        self.eps: float = config.rms_norm_eps
        self.fused_attention = fused_attention
        layers = tuple(_fuse_layer(layer) for layer in decoder.layers)
        self.layers = tuple(_quantise_layer(layer, fused_int8) for layer in layers) if int8 else layers
        self.norm: Tensor = decoder.norm.weight.data
        device, dtype = self.norm.device, self.norm.dtype
        rotary = decoder.rotary_emb
        cos, sin = make_rotary_tables(rotary.inv_freq.to(device), positions)
        self.cos, self.sin = (cos * rotary.attention_scaling).to(dtype), (sin * rotary.attention_scaling).to(dtype)
        self.places = torch.arange(positions, device=device)

    def cache(self, calls: int = 1) -> KeyValues:
        """Return empty keys and values for every position; of several calls those of each after the other."""
        shape = (calls * self.kv_heads, len(self.places), self.head_dim)
        options: dict[str, Any] = {"device": self.norm.device, "dtype": self.norm.dtype}
        return tuple((torch.zeros(shape, **options), torch.zeros(shape, **options)) for _ in self.layers)

    def forward(self, x: Tensor, cache: KeyValues, positions: Tensor, window: int, calls: int = 1) -> Tensor:
        """Return rows `x` (T, hidden) at `positions` (T,) after all layers and the final norm, shape (T, hidden).

        Writes the rows' keys and values into `cache`, and attends to its first `window` places, up to each row's own
        position: places after it, stale or never written, have no weight. With several `calls` the rows are one of each
        call, all at the one position, over `cache(calls)`.
        """
        cos, sin = self.cos.index_select(0, positions), self.sin.index_select(0, positions)
        attend_layer = self._prepare_attention(cos, sin, positions, window, calls)
        for layer, (keys, values) in zip(self.layers, cache, strict=True):
            qkv = multiply(self._normalise(x, layer.attention_norm), layer.qkv)
            x = x + multiply(attend_layer(qkv, keys, values), layer.output)
            gate, up = multiply(self._normalise(x, layer.mlp_norm), layer.gate_up).chunk(2, dim=-1)
            x = x + multiply(F.silu(gate) * up, layer.down)
        return self._normalise(x, self.norm)

    def _prepare_attention(self, cos: Tensor, sin: Tensor, positions: Tensor, window: int, calls: int) -> Attention:
        """Return a layer's attention for rows at `positions`: from qkv (T, …), keys and values to (T, heads · dim)."""
        if self.fused_attention and len(positions) == calls == 1:
            from turngap_agent.tts.csm import kernels

            def attend_row(qkv: Tensor, keys: Tensor, values: Tensor) -> Tensor:
                return kernels.attend_row(qkv, cos, sin, keys, values, positions, self.heads)

            return attend_row
        cos, sin, dim = cos.unsqueeze(1), sin.unsqueeze(1), self.head_dim
        hidden_places = (self.places[:window] > positions.unsqueeze(1)).repeat(self.heads // self.kv_heads, 1)

        def attend_rows(qkv: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            rotary, value = qkv.view(len(qkv), -1, dim).split((self.heads + self.kv_heads, self.kv_heads), dim=1)
            query, key = rotate(rotary, cos, sin).split((self.heads, self.kv_heads), dim=1)
            if calls > 1:  # as if one call had the heads of all
                query, key, value = query.reshape(1, -1, dim), key.reshape(1, -1, dim), value.reshape(1, -1, dim)
            keys.index_copy_(1, positions, key.transpose(0, 1))
            values.index_copy_(1, positions, value.transpose(0, 1))
            attended = attend(query, keys[:, :window], values[:, :window], hidden_places, dim**-0.5)
            return attended.view(len(qkv), -1)

        return attend_rows

    def bytes_read(self) -> int:
        """Return the bytes of weights that one step reads."""
        return sum(count_bytes(weight) for layer in self.layers for weight in layer)

    def _normalise(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), weight, self.eps)


Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def _quantise_layer(layer: LlamaLayer, fused: bool) -> LlamaLayer:
    return LlamaLayer(
        *(quantise(part, fused=fused) if isinstance(part, Tensor) and part.dim() == 2 else part for part in layer)
    )


def _fuse_layer(layer: Any) -> LlamaLayer:
    attention, mlp = layer.self_attn, layer.mlp
    qkv = fuse_projections(attention.q_proj, attention.k_proj, attention.v_proj)
    gate_up = fuse_projections(mlp.gate_proj, mlp.up_proj)
    return LlamaLayer(
        attention_norm=layer.input_layernorm.weight.data,
        qkv=qkv,
        output=attention.o_proj.weight.data,
        mlp_norm=layer.post_attention_layernorm.weight.data,
        gate_up=gate_up,
        down=mlp.down_proj.weight.data,
    )
