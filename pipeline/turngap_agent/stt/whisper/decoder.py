"""Whisper's decoder with fixed shapes: static keys and values, one captured CUDA graph for a token.

transformers launches each token's kernels from Python, some milliseconds of which the GPU needs a fraction. Here a
token is one unit that reads nothing back; the ids stay on the device and are read every few tokens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from turngap_agent.device.attention import KeyValues, attend
from turngap_agent.device.execution import Execution

READ_EVERY = 8
"""Tokens between two looks at the ids, where units are graphs: as many may be decoded past the end."""


class _Attention(NamedTuple):
    norm: tuple[Tensor, Tensor]
    query: tuple[Tensor, Tensor | None]
    key: tuple[Tensor, Tensor | None]
    value: tuple[Tensor, Tensor | None]
    output: tuple[Tensor, Tensor | None]


class _Layer(NamedTuple):
    own: _Attention
    """Attention to the tokens so far."""
    cross: _Attention
    """Attention to the encoder's states."""
    mlp_norm: tuple[Tensor, Tensor]
    up: tuple[Tensor, Tensor | None]
    down: tuple[Tensor, Tensor | None]


class StaticDecoder:
    """The decoder's weights of a transformers WhisperForConditionalGeneration, with its cache and its units."""

    def __init__(self, network: Any, prompt: tuple[int, ...], execution: Execution) -> None:
        """Prepare the units (captures, on a GPU); call it inside `execution.activate()`.

        Raises:
            ValueError: the architecture has another activation than Whisper's.
        """
        config, decoder = network.config, network.model.decoder
        if config.activation_function != "gelu" or config.scale_embedding:
            raise ValueError("a Whisper decoder with GELU and plain embeddings was expected")
        self._heads: int = config.decoder_attention_heads
        self._layers = tuple(_load_layer(layer) for layer in decoder.layers)
        self._norm = (decoder.layer_norm.weight.data, decoder.layer_norm.bias.data)
        self._embeddings: Tensor = decoder.embed_tokens.weight.data
        self._positions: Tensor = decoder.embed_positions.weight.data
        self._head: Tensor = network.proj_out.weight.data
        self._end: int = config.eos_token_id
        self._read_every = READ_EVERY if execution.lookahead else 1
        device = self._head.device
        places, sources = config.max_target_positions, config.max_source_positions
        self._own, self._cross = self._make_cache(places), self._make_cache(sources)
        self._places = torch.arange(places, device=device)
        self._no_places = torch.zeros(1, sources, dtype=torch.bool, device=device)
        self._prompt = torch.tensor(prompt, device=device)
        self._token = torch.zeros(1, dtype=torch.long, device=device)
        self._position = torch.zeros(1, dtype=torch.long, device=device)
        self._ids = torch.zeros(places, dtype=torch.long, device=device)
        """By position, the token that was drawn there."""
        self._prompt_unit = execution.prepare_unit(self._read_prompt)
        self._step_unit = execution.prepare_unit(self._step)
        self._reset()

    def decode(self, states: Tensor, count: int, *, reads_end: bool) -> list[int]:
        """Return the likeliest ids after the prompt, given encoder `states` (1, positions, width): at most `count`.

        With `reads_end` they stop before the end token; without, nothing is read back until all are decoded.
        """
        for layer, (keys, values) in zip(self._layers, self._cross, strict=True):
            keys.copy_(self._split(F.linear(states[0], *layer.cross.key)).transpose(0, 1))
            values.copy_(self._split(F.linear(states[0], *layer.cross.value)).transpose(0, 1))
        self._reset()
        first = len(self._prompt) - 1
        for number in range(count):
            (self._step_unit if number else self._prompt_unit)()
            if reads_end and ((number + 1) % self._read_every == 0 or number + 1 == count):
                ids: list[int] = self._ids[first : first + number + 1].tolist()
                if self._end in ids:
                    return ids[: ids.index(self._end)]
        result: list[int] = self._ids[first : first + count].tolist()
        return result

    def _make_cache(self, places: int) -> KeyValues:
        shape = (self._heads, places, self._head.shape[1] // self._heads)
        options: dict[str, Any] = {"device": self._head.device, "dtype": self._head.dtype}
        return tuple((torch.zeros(shape, **options), torch.zeros(shape, **options)) for _ in self._layers)

    # The units: the tensors that they read and write stay in place.

    def _reset(self) -> None:
        self._position.zero_()

    def _read_prompt(self) -> None:
        count = len(self._prompt)
        self._draw(self._prompt, self._places[:count])
        self._position.fill_(count)

    def _step(self) -> None:
        self._draw(self._token, self._position)
        self._position.add_(1)

    def _draw(self, ids: Tensor, positions: Tensor) -> None:
        """Compute `ids` (T,) at `positions` (T,), and store the likeliest next token."""
        x = F.embedding(ids, self._embeddings) + self._positions.index_select(0, positions)
        later = self._places > positions.unsqueeze(1)
        sources = self._no_places.expand(len(ids), -1)
        for layer, (keys, values), cross in zip(self._layers, self._own, self._cross, strict=True):
            normed = self._normalise(x, layer.own.norm)
            keys.index_copy_(1, positions, self._split(F.linear(normed, *layer.own.key)).transpose(0, 1))
            values.index_copy_(1, positions, self._split(F.linear(normed, *layer.own.value)).transpose(0, 1))
            x = x + self._attend(normed, layer.own, (keys, values), later)
            x = x + self._attend(self._normalise(x, layer.cross.norm), layer.cross, cross, sources)
            hidden = F.gelu(F.linear(self._normalise(x, layer.mlp_norm), *layer.up))
            x = x + F.linear(hidden, *layer.down)
        logits = F.linear(self._normalise(x[-1:], self._norm), self._head)
        self._token.copy_(logits.argmax(dim=-1))
        self._ids.index_copy_(0, positions[-1:], self._token)

    def _attend(self, x: Tensor, attention: _Attention, cache: tuple[Tensor, Tensor], hidden: Tensor) -> Tensor:
        query = self._split(F.linear(x, *attention.query))
        return F.linear(attend(query, *cache, hidden, query.shape[-1] ** -0.5), *attention.output)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(len(x), self._heads, -1)

    def _normalise(self, x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
        return F.layer_norm(x, (x.shape[-1],), *norm)


def _load_layer(layer: Any) -> _Layer:
    return _Layer(
        own=_load_attention(layer.self_attn, layer.self_attn_layer_norm),
        cross=_load_attention(layer.encoder_attn, layer.encoder_attn_layer_norm),
        mlp_norm=(layer.final_layer_norm.weight.data, layer.final_layer_norm.bias.data),
        up=_load_linear(layer.fc1),
        down=_load_linear(layer.fc2),
    )


def _load_attention(attention: Any, norm: Any) -> _Attention:
    projections = (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj)
    return _Attention((norm.weight.data, norm.bias.data), *map(_load_linear, projections))


def _load_linear(linear: Any) -> tuple[Tensor, Tensor | None]:
    return linear.weight.data, None if linear.bias is None else linear.bias.data
