"""Gemma 3's decoder with fixed shapes, over the weights of transformers' own module.

Five of six layers attend to a sliding window, with one rotary embedding; the sixth attends to all positions, with
another. Queries and keys are normalised, and so is every block's input and output. A step has the same shapes at every
position.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from turngap_agent.device.attention import KeyValues, attend, fuse_projections, make_rotary_tables, rotate
from turngap_agent.llm.gemma.int4 import GROUP, SMALL_GROUP, Matrix, multiply, quantise


class GemmaLayer(NamedTuple):
    """The weights of one layer; a matrix has the shape (out, in), a norm contains 1 + its weight in fp32."""

    local: bool
    """Whether it attends to the sliding window only."""
    attention_norm: Tensor
    qkv: Matrix
    query_norm: Tensor
    key_norm: Tensor
    output: Matrix
    after_attention: Tensor
    mlp_norm: Tensor
    gate_up: Matrix
    down: Matrix
    after_mlp: Tensor


class Gemma:
    """The weights of a transformers Gemma3ForCausalLM over `positions` places; its modules share the fused storage."""

    def __init__(
        self,
        network: Any,
        positions: int,
        *,
        int4: bool = False,
        fill_layer: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Take the weights over.

        `int4`: matrices of layers are 4-bit integers; the full ones are given up, layer by layer. `fill_layer` is
        called with a layer's number before its weights are read.

        Raises:
            ValueError: the architecture has biases, soft-capping or an activation that Gemma 3 does not have, or
                matrices of sizes that cannot be packed.
        """
        config = network.config
        if config.attention_bias or config.final_logit_softcapping or config.hidden_activation != "gelu_pytorch_tanh":
            raise ValueError("a Gemma 3 without biases and soft-capping was expected")
        self.heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.head_dim: int = config.head_dim
        self.window: int = config.sliding_window
        self.eps: float = config.rms_norm_eps
        self.scale: float = config.query_pre_attn_scalar**-0.5
        self.embeddings: Tensor = network.model.embed_tokens.weight.data
        """(vocabulary, hidden); the head is the same matrix."""
        self.norm = _load_norm(network.model.norm)
        device, dtype = self.embeddings.device, self.embeddings.dtype
        self.embed_scale = torch.tensor(config.hidden_size**0.5, dtype=dtype, device=device)
        kinds = config.layer_types
        layers: list[GemmaLayer] = []
        for number, (module, kind) in enumerate(zip(network.model.layers, kinds, strict=True)):
            fill_layer(number)
            layer = _fuse_layer(module, kind == "sliding_attention")
            if int4:
                layer = _quantise_layer(layer)
                module.to("meta")
            layers.append(layer)
        self.layers = tuple(layers)
        rotary = network.model.rotary_emb
        self.tables = {
            local: _make_tables(rotary, kind, positions, device, dtype)
            for local, kind in ((True, "sliding_attention"), (False, "full_attention"))
            if kind in kinds
        }
        self.places = torch.arange(positions, device=device)

    def cache(self) -> KeyValues:
        """Return empty keys and values for every position."""
        shape = (self.kv_heads, len(self.places), self.head_dim)
        options: dict[str, Any] = {"device": self.embeddings.device, "dtype": self.embeddings.dtype}
        return tuple((torch.zeros(shape, **options), torch.zeros(shape, **options)) for _ in self.layers)

    def forward(self, ids: Tensor, cache: KeyValues, positions: Tensor, window: int) -> Tensor:
        """Return token `ids` (T,) at `positions` (T,) after all layers and the final norm, shape (T, hidden).

        Writes their keys and values into `cache`, and attends to its first `window` places, up to each row's own
        position (and no further back than the sliding window, where a layer has one).
        """
        x = F.embedding(ids, self.embeddings) * self.embed_scale
        groups = self.heads // self.kv_heads
        places, at = self.places[:window], positions.unsqueeze(1)
        later = places > at
        hidden = {False: later.repeat(groups, 1), True: (later | (places <= at - self.window)).repeat(groups, 1)}
        tables = {
            local: (cos.index_select(0, positions).unsqueeze(1), sin.index_select(0, positions).unsqueeze(1))
            for local, (cos, sin) in self.tables.items()
        }
        for layer, (keys, values) in zip(self.layers, cache, strict=True):
            qkv = multiply(self._normalise(x, layer.attention_norm), layer.qkv).view(len(x), -1, self.head_dim)
            query, key, value = qkv.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
            cos, sin = tables[layer.local]
            query = rotate(self._normalise(query, layer.query_norm), cos, sin)
            key = rotate(self._normalise(key, layer.key_norm), cos, sin)
            keys.index_copy_(1, positions, key.transpose(0, 1))
            values.index_copy_(1, positions, value.transpose(0, 1))
            attended = attend(query, keys[:, :window], values[:, :window], hidden[layer.local], self.scale)
            x = x + self._normalise(multiply(attended, layer.output), layer.after_attention)
            gate, up = multiply(self._normalise(x, layer.mlp_norm), layer.gate_up).chunk(2, dim=-1)
            x = x + self._normalise(multiply(F.gelu(gate, approximate="tanh") * up, layer.down), layer.after_mlp)
        return self._normalise(x, self.norm)

    def likeliest_token(self, hidden: Tensor) -> Tensor:
        """Return the likeliest next token of each row of `hidden` (T, hidden), shape (T,)."""
        return F.linear(hidden, self.embeddings).argmax(dim=-1)

    def _normalise(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x.float(), (x.shape[-1],), weight, self.eps).to(x.dtype)


def _make_tables(
    rotary: Any, kind: str, positions: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    frequencies = getattr(rotary, f"{kind}_inv_freq").to(device)
    scaling = getattr(rotary, f"{kind}_attention_scaling")
    cos, sin = make_rotary_tables(frequencies, positions)
    return (cos * scaling).to(dtype), (sin * scaling).to(dtype)


def _load_norm(module: Any) -> Tensor:
    return 1.0 + module.weight.data.float()


def _quantise_layer(layer: GemmaLayer) -> GemmaLayer:
    width = layer.qkv.shape[1]
    group = GROUP if width % GROUP == 0 else SMALL_GROUP
    return layer._replace(
        qkv=quantise(layer.qkv, group),
        output=quantise(layer.output, group),
        gate_up=quantise(layer.gate_up, group),
        down=quantise(layer.down, group),
    )


def _fuse_layer(layer: Any, local: bool) -> GemmaLayer:
    attention, mlp = layer.self_attn, layer.mlp
    return GemmaLayer(
        local=local,
        attention_norm=_load_norm(layer.input_layernorm),
        qkv=fuse_projections(attention.q_proj, attention.k_proj, attention.v_proj),
        query_norm=_load_norm(attention.q_norm),
        key_norm=_load_norm(attention.k_norm),
        output=attention.o_proj.weight.data,
        after_attention=_load_norm(layer.post_attention_layernorm),
        mlp_norm=_load_norm(layer.pre_feedforward_layernorm),
        gate_up=fuse_projections(mlp.gate_proj, mlp.up_proj),
        down=mlp.down_proj.weight.data,
        after_mlp=_load_norm(layer.post_feedforward_layernorm),
    )
