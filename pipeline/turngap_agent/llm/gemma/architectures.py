"""Gemma 3 configurations, and networks with random weights made from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from turngap_agent.device import random_weights
from turngap_agent.llm.gemma.sizes import INT4_BYTES


def gemma_3_27b() -> Any:
    """Return the text part of Gemma 3 27B, after its `config.json`: 62 layers, width 5376, 27.0 billion parameters."""
    from transformers import Gemma3TextConfig

    return Gemma3TextConfig(
        vocab_size=262_208,
        hidden_size=5376,
        intermediate_size=21_504,
        num_hidden_layers=62,
        num_attention_heads=32,
        num_key_value_heads=16,
        head_dim=128,
        query_pre_attn_scalar=168,
        sliding_window=1024,
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
        },
    )


def tiny() -> Any:
    """Return a Gemma 3 of 0.1 million parameters with both kinds of layers, grouped heads and a window of 64 places."""
    from transformers import Gemma3TextConfig

    return Gemma3TextConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        query_pre_attn_scalar=24,
        sliding_window=64,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
        },
    )


ARCHITECTURES = {"gemma-3-27b": gemma_3_27b, "tiny": tiny}


def build(config: Any, device: torch.device, dtype: torch.dtype, *, seed: int = 0, scale: float = 0.02) -> Any:
    """Return a transformers Gemma3ForCausalLM of `config` with random weights of deviation `scale`."""
    from transformers import Gemma3ForCausalLM

    network = random_weights.build(lambda: Gemma3ForCausalLM(config), device, dtype)
    random_weights.fill(network, seed=seed, scale=scale, norm=0.0)  # its norms multiply by 1 + weight
    network.lm_head.weight = network.model.embed_tokens.weight
    return network


def build_in_layers(config: Any, device: torch.device, dtype: torch.dtype) -> tuple[Any, Callable[[int], None]]:
    """Return a network whose layers take no memory yet, and the function that gives one of them its random weights.

    For a card that the whole network does not fit on, where each layer is quantised as soon as it is there.
    """
    from transformers import Gemma3ForCausalLM

    network = random_weights.build(lambda: Gemma3ForCausalLM(config), torch.device("meta"), dtype)
    model = network.model
    for module, constants in ((model.embed_tokens, {}), (model.norm, {"weight": 0.0})):
        module.to_empty(device=device)
        random_weights.fill(module, seed=0, scale=0.02, constants=constants)
    network.lm_head.weight = model.embed_tokens.weight
    model.rotary_emb = type(model.rotary_emb)(config).to(device)  # its frequencies are no weights

    def fill_layer(number: int) -> None:
        layer = model.layers[number].to_empty(device=device)
        random_weights.fill(layer, seed=number, scale=0.02, norm=0.0)

    return network, fill_layer


def needed_bytes(config: Any, dtype: torch.dtype, positions: int, *, int4: bool = False) -> int:
    """Return the bytes of the weights, and of keys and values for `positions` positions."""
    from transformers import Gemma3ForCausalLM

    with torch.device("meta"):
        network = Gemma3ForCausalLM(config)
    network.lm_head.weight = network.model.embed_tokens.weight
    weights = sum(int(parameter.numel()) for parameter in network.parameters())
    layers = sum(int(parameter.numel()) for parameter in network.model.layers.parameters()) if int4 else 0
    cells = (
        weights - layers + 2 * int(config.num_hidden_layers * config.num_key_value_heads * config.head_dim) * positions
    )
    return cells * int(dtype.itemsize) + round(layers * INT4_BYTES)
