"""Mimi's decoder, one frame at a time, with state between frames so that the frames equal the whole.

transformers' `MimiModel.decode` keeps only its transformer's keys and values; its convolutions start from silence in
every call, which frame by frame leaves a signal 1 dB above the error. Here each causal convolution keeps the end of its
last input, each transposed convolution the overlap of its last output, and the transformer a ring of keys and values.
In fp32: the codec is 3 % of the work, and half precision is audible.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from turngap_agent.device.attention import make_rotary_tables, rotate
from turngap_agent.tts.csm.convolutions import Convolutions

STEPS_PER_FRAME = 2
"""The transformer runs at 25 Hz, frames come at 12.5 Hz."""


class CodecState(NamedTuple):
    """One call's decoder state; `MimiDecoder.decode_frame` updates it in place."""

    carries: tuple[Tensor, ...]
    """What each convolution keeps: input (1, in, n) or, transposed, output (1, out, n)."""
    keys: tuple[Tensor, ...]
    """One for each transformer layer, (heads, ring, head_dim)."""
    values: tuple[Tensor, ...]
    position: Tensor
    """(1,): the transformer's next position."""
    ring_positions: Tensor
    """(ring,): the position in each place of the ring; -1 for none."""


class MimiDecoder:
    """The decoder weights of a transformers MimiModel, for at most `frames` frames a call."""

    def __init__(self, mimi: Any, frames: int) -> None:
        """Raise ValueError if the model is not causal, or has layers that are not implemented here."""
        config = mimi.config
        if not config.use_causal_conv or config.trim_right_ratio != 1.0 or config.pad_mode != "constant":
            raise ValueError("a causal Mimi with zero padding was expected")
        if config.num_key_value_heads != config.num_attention_heads:
            raise ValueError("a Mimi without grouped attention heads was expected")
        upsample, transformer, network = _find_decoder_parts(mimi)
        self._latents = _Latents(mimi.quantizer)
        self._convolutions = Convolutions()
        self._upsample = self._convolutions.add_layer(upsample)
        self._transformer = _Transformer(transformer, config, STEPS_PER_FRAME * frames)
        self._network = tuple(self._convolutions.add_layer(layer) for layer in network.layers)
        self.codebooks: int = config.num_quantizers
        self.sample_rate: int = config.sampling_rate
        self.frame_samples: int = round(config.sampling_rate / config.frame_rate)

    def new_state(self) -> CodecState:
        """Return a new state: silence before the first frame."""
        device = self._latents.table.device
        keys, values = self._transformer.cache()
        return CodecState(
            carries=tuple(torch.zeros(shape, device=device) for shape in self._convolutions.carry_shapes),
            keys=keys,
            values=values,
            position=torch.zeros(1, dtype=torch.long, device=device),
            ring_positions=torch.full((self._transformer.ring,), -1, dtype=torch.long, device=device),
        )

    def decode_frame(self, codes: Tensor, state: CodecState) -> Tensor:
        """Return the frame `codes` (codebooks,) as samples (frame_samples,), full scale ±1."""
        x = self._upsample.run(self._latents.lookup(codes), state.carries)
        x = self._transformer.run(x.transpose(1, 2).squeeze(0), state).unsqueeze(0).transpose(1, 2)
        for layer in self._network:
            x = layer.run(x, state.carries)
        return x.view(-1)

    def bytes_read(self) -> int:
        """Return the bytes of weights that one frame reads; of each codebook it reads one row."""
        weights = [*self._convolutions.weights, *self._transformer.weights()]
        return sum(weight.numel() * weight.element_size() for weight in weights)


def reset(state: CodecState) -> None:
    """Reset `state` in place; keys and values need not be cleared, since their places are marked empty."""
    for carry in state.carries:
        carry.zero_()
    state.position.zero_()
    state.ring_positions.fill_(-1)


ENCODED_FRAMES = (25, 50, 100, 200, 400)
"""Audio is encoded at one of these lengths, 2 to 32 s; longer audio at a multiple of the last."""


def encode(mimi: Any, samples: Tensor, codebooks: int, frame_samples: int) -> Tensor:
    """Return the codes (frames, codebooks) of whole audio `samples` (n,), at the codec's rate, by transformers.

    Padded with silence to one of few lengths: on a GPU a convolution of a new shape costs a millisecond once, and every
    utterance has another length. The encoder is causal, so what follows a frame does not change its codes.
    """
    frames = -(-len(samples) // frame_samples)
    padded = F.pad(samples, (0, padded_frames(frames) * frame_samples - len(samples)))
    codes: Tensor = mimi.encode(padded.view(1, 1, -1), num_quantizers=codebooks).audio_codes
    return codes[0, :, :frames].transpose(0, 1).contiguous()


def padded_frames(frames: int) -> int:
    """Return the length, in frames, at which audio of `frames` is encoded."""
    longest = ENCODED_FRAMES[-1]
    return next((length for length in ENCODED_FRAMES if length >= frames), -(-frames // longest) * longest)


class _Latents:
    """Codes to latents: the sum of the codebooks' rows, after a projection for semantic and one for acoustic rows."""

    def __init__(self, quantizer: Any) -> None:
        semantic, acoustic = quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer
        codebooks = torch.stack([layer.codebook.embed.float() for layer in (*semantic.layers, *acoustic.layers)])
        self.semantic_codebooks = len(semantic.layers)
        self.table = codebooks.flatten(0, 1)
        self.offsets = torch.arange(len(codebooks), device=codebooks.device) * codebooks.shape[1]
        self.semantic: Tensor = semantic.output_proj.weight.data.squeeze(-1)
        self.acoustic: Tensor = acoustic.output_proj.weight.data.squeeze(-1)

    def lookup(self, codes: Tensor) -> Tensor:
        rows = F.embedding(codes + self.offsets, self.table)
        semantic = rows[: self.semantic_codebooks].sum(dim=0, keepdim=True)
        acoustic = rows[self.semantic_codebooks :].sum(dim=0, keepdim=True)
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
        self.layers = tuple(_load_transformer_layer(layer) for layer in transformer.layers)
        device = self.layers[0].output.device
        self.cos, self.sin = make_rotary_tables(transformer.rotary_emb.inv_freq.to(device), positions)
        self.steps = torch.arange(STEPS_PER_FRAME, device=device)

    def cache(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        shape, device = (self.heads, self.ring, self.head_dim), self.cos.device
        keys = tuple(torch.zeros(shape, device=device) for _ in self.layers)
        return keys, tuple(torch.zeros(shape, device=device) for _ in self.layers)

    def run(self, x: Tensor, state: CodecState) -> Tensor:
        """Return `x` (2, hidden) after all layers, in the same shape."""
        positions = state.position + self.steps
        places = positions % self.ring
        state.ring_positions.index_copy_(0, places, positions)
        state.position.add_(STEPS_PER_FRAME)
        stored, current = state.ring_positions.unsqueeze(0), positions.unsqueeze(1)
        out_of_reach = (stored < 0) | (stored > current) | (stored <= current - self.window)
        cos, sin = self.cos.index_select(0, positions), self.sin.index_select(0, positions)
        for layer, keys, values in zip(self.layers, state.keys, state.values, strict=True):
            normed = F.layer_norm(x, (x.shape[-1],), *layer.attention_norm, self.eps)
            qkv = F.linear(normed, layer.qkv).view(STEPS_PER_FRAME, 3, self.heads, self.head_dim).permute(1, 2, 0, 3)
            query, key = rotate(qkv[:2], cos, sin).unbind(0)
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


def _load_transformer_layer(layer: Any) -> _TransformerLayer:
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


def _find_decoder_parts(mimi: Any) -> tuple[Any, Any, Any]:
    """Return upsampling, transformer and convolutional network; newer transformers group them in `mimi.decoder`."""
    decoder = mimi.decoder
    if hasattr(decoder, "decoder_seanet"):
        return decoder.upsample, decoder.decoder_transformer, decoder.decoder_seanet
    return mimi.upsample, mimi.decoder_transformer, decoder
