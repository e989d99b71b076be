"""Mimi, decoding one frame at a time: the state that makes pieces equal to the whole, held between frames.

transformers' `MimiModel.decode` carries only its transformer's keys and values; its convolutions start from silence in
every call, which frame by frame leaves 1 dB of signal over error. Here each causal convolution keeps the end of its
last input, each transposed convolution the overlap of its last output, and the transformer a ring of keys and values.
In fp32: the codec is 3 % of the work, and half precision is audible.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from turngap_agent.device.attention import rotary_tables, rotated
from turngap_agent.tts.csm.convolutions import Convolutions

STEPS_PER_FRAME = 2
"""The transformer runs at 25 Hz, frames come at 12.5 Hz."""


class CodecState(NamedTuple):
    """One call's decoder state; `MimiDecoder.step` writes it in place."""

    carries: tuple[Tensor, ...]
    """What each convolution keeps: input (1, in, n) or, transposed, output (1, out, n)."""
    keys: tuple[Tensor, ...]
    """Of each transformer layer, (heads, ring, head_dim)."""
    values: tuple[Tensor, ...]
    position: Tensor
    """(1,): the transformer's next position."""
    ring_positions: Tensor
    """(ring,): which position each place of the ring holds; -1 for none."""


class MimiDecoder:
    """The decoder weights of a transformers MimiModel, for at most `frames` frames a call."""

    def __init__(self, mimi: Any, frames: int) -> None:
        """Raises ValueError when the model is not causal, or differs in shape from what is built here."""
        config = mimi.config
        if not config.use_causal_conv or config.trim_right_ratio != 1.0 or config.pad_mode != "constant":
            raise ValueError("a causal Mimi with zero padding was expected")
        if config.num_key_value_heads != config.num_attention_heads:
            raise ValueError("a Mimi without grouped attention heads was expected")
        upsample, transformer, network = _decoder_parts(mimi)
        self._latents = _Latents(mimi.quantizer)
        self._convolutions = Convolutions()
        self._upsample = self._convolutions.layer(upsample)
        self._transformer = _Transformer(transformer, config, STEPS_PER_FRAME * frames)
        self._network = tuple(self._convolutions.layer(layer) for layer in network.layers)
        self.codebooks: int = config.num_quantizers
        self.sample_rate: int = config.sampling_rate
        self.frame_samples: int = round(config.sampling_rate / config.frame_rate)

    def state(self) -> CodecState:
        """A fresh state: silence before the first frame."""
        device = self._latents.table.device
        keys, values = self._transformer.cache()
        return CodecState(
            carries=tuple(torch.zeros(shape, device=device) for shape in self._convolutions.carry_shapes),
            keys=keys,
            values=values,
            position=torch.zeros(1, dtype=torch.long, device=device),
            ring_positions=torch.full((self._transformer.ring,), -1, dtype=torch.long, device=device),
        )

    def step(self, codes: Tensor, state: CodecState) -> Tensor:
        """One frame `codes` (codebooks,) as samples (frame_samples,), full scale ±1."""
        x = self._upsample.run(self._latents.of(codes), state.carries)
        x = self._transformer.run(x.transpose(1, 2).squeeze(0), state).unsqueeze(0).transpose(1, 2)
        for layer in self._network:
            x = layer.run(x, state.carries)
        return x.view(-1)

    def bytes_read(self) -> int:
        """Bytes of weights that one frame reads; a codebook gives one row."""
        weights = [*self._convolutions.weights, *self._transformer.weights()]
        return sum(weight.numel() * weight.element_size() for weight in weights)


def reset(state: CodecState) -> None:
    """Make `state` fresh again, in place; keys and values need not be cleared, their places are marked empty."""
    for carry in state.carries:
        carry.zero_()
    state.position.zero_()
    state.ring_positions.fill_(-1)


def encode(mimi: Any, samples: Tensor, codebooks: int) -> Tensor:
    """Whole audio `samples` (n,), at the codec's rate, as codes (frames, codebooks), by transformers' own encoder."""
    codes: Tensor = mimi.encode(samples.view(1, 1, -1), num_quantizers=codebooks).audio_codes
    return codes[0].transpose(0, 1).contiguous()


class _Latents:
    """Codes to latents: the sum of the codebooks' rows, semantic and acoustic ones each through a projection."""

    def __init__(self, quantizer: Any) -> None:
        semantic, acoustic = quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer
        books = torch.stack([layer.codebook.embed.float() for layer in (*semantic.layers, *acoustic.layers)])
        self.semantic_books = len(semantic.layers)
        self.table = books.flatten(0, 1)
        self.offsets = torch.arange(len(books), device=books.device) * books.shape[1]
        self.semantic: Tensor = semantic.output_proj.weight.data.squeeze(-1)
        self.acoustic: Tensor = acoustic.output_proj.weight.data.squeeze(-1)

    def of(self, codes: Tensor) -> Tensor:
        rows = F.embedding(codes + self.offsets, self.table)
        semantic = rows[: self.semantic_books].sum(dim=0, keepdim=True)
        acoustic = rows[self.semantic_books :].sum(dim=0, keepdim=True)
        return (F.linear(semantic, self.semantic) + F.linear(acoustic, self.acoustic)).unsqueeze(-1)


class _TransformerLayer(NamedTuple):
    attention_norm: tuple[Tensor, Tensor]
    qkv: Tensor
    output: Tensor
    attention_scale: Tensor
    mlp_norm: tuple[Tensor, Tensor]
    up: Tensor
    down: Tensor
    mlp_scale: Tensor


class _Transformer:
    """Mimi's decoder transformer: sliding-window attention over a ring of keys and values."""

    def __init__(self, transformer: Any, config: Any, positions: int) -> None:
        if config.hidden_act != "gelu":
            raise ValueError("a Mimi transformer with GELU was expected")
        self.heads: int = config.num_attention_heads
        self.head_dim: int = config.head_dim
        self.eps: float = config.norm_eps
        self.window: int = config.sliding_window
        self.ring = self.window + STEPS_PER_FRAME
        self.layers = tuple(_transformer_layer(layer) for layer in transformer.layers)
        device = self.layers[0].output.device
        self.cos, self.sin = rotary_tables(transformer.rotary_emb.inv_freq.to(device), positions)
        self.ahead = torch.arange(STEPS_PER_FRAME, device=device)

    def cache(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        shape, device = (self.heads, self.ring, self.head_dim), self.cos.device
        keys = tuple(torch.zeros(shape, device=device) for _ in self.layers)
        return keys, tuple(torch.zeros(shape, device=device) for _ in self.layers)

    def run(self, x: Tensor, state: CodecState) -> Tensor:
        """`x` (2, hidden) → the same shape."""
        positions = state.position + self.ahead
        places = positions % self.ring
        state.ring_positions.index_copy_(0, places, positions)
        state.position.add_(STEPS_PER_FRAME)
        held, now = state.ring_positions.unsqueeze(0), positions.unsqueeze(1)
        out_of_reach = (held < 0) | (held > now) | (held <= now - self.window)
        cos, sin = self.cos.index_select(0, positions), self.sin.index_select(0, positions)
        for layer, keys, values in zip(self.layers, state.keys, state.values, strict=True):
            normed = F.layer_norm(x, (x.shape[-1],), *layer.attention_norm, self.eps)
            qkv = F.linear(normed, layer.qkv).view(STEPS_PER_FRAME, 3, self.heads, self.head_dim).permute(1, 2, 0, 3)
            query, key = rotated(qkv[:2], cos, sin).unbind(0)
            keys.index_copy_(1, places, key)
            values.index_copy_(1, places, qkv[2])
            scores = torch.bmm(query, keys.transpose(1, 2)) * self.head_dim**-0.5
            weights = scores.masked_fill(out_of_reach, float("-inf")).softmax(dim=-1)
            attended = torch.bmm(weights, values).transpose(0, 1).reshape(STEPS_PER_FRAME, -1)
            x = x + layer.attention_scale * F.linear(attended, layer.output)
            normed = F.layer_norm(x, (x.shape[-1],), *layer.mlp_norm, self.eps)
            x = x + layer.mlp_scale * F.linear(F.gelu(F.linear(normed, layer.up)), layer.down)
        return x

    def weights(self) -> list[Tensor]:
        return [weight for layer in self.layers for weight in (layer.qkv, layer.output, layer.up, layer.down)]


def _transformer_layer(layer: Any) -> _TransformerLayer:
    attention = layer.self_attn
    return _TransformerLayer(
        attention_norm=(layer.input_layernorm.weight.data, layer.input_layernorm.bias.data),
        qkv=torch.cat([p.weight.data for p in (attention.q_proj, attention.k_proj, attention.v_proj)]),
        output=attention.o_proj.weight.data,
        attention_scale=layer.self_attn_layer_scale.scale.data,
        mlp_norm=(layer.post_attention_layernorm.weight.data, layer.post_attention_layernorm.bias.data),
        up=layer.mlp.fc1.weight.data,
        down=layer.mlp.fc2.weight.data,
        mlp_scale=layer.mlp_layer_scale.scale.data,
    )


def _decoder_parts(mimi: Any) -> tuple[Any, Any, Any]:
    """Upsampling, transformer and convolutional network; newer transformers gather them in `mimi.decoder`."""
    decoder = mimi.decoder
    if hasattr(decoder, "decoder_seanet"):
        return decoder.upsample, decoder.decoder_transformer, decoder.decoder_seanet
    return mimi.upsample, mimi.decoder_transformer, decoder
