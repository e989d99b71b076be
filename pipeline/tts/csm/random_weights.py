"""CSM-1B's exact architecture with random weights: what a GPU needs to know about its speed and memory, not its voice.

Neither latency nor memory depends on the values. No download, no licence. Also a tiny configuration, for tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_TILE = 1_000_003
"""Weights repeat one draw of this many values: full initialisation of 1.6 billion takes minutes. Prime, so that no two
rows of a matrix are equal."""


def csm_1b() -> Any:
    """transformers' defaults, which are csm-1b's tensor shapes (its rotary scaling differs, and costs nothing)."""
    from transformers import CsmConfig

    return CsmConfig()


def tiny() -> Any:
    """A CSM of 0.3 million parameters: two layers, 4 codebooks of 64 codes, 512 positions; frames of 80 ms as ever."""
    from transformers import CsmConfig

    heads = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "num_codebooks": 4}
    return CsmConfig(
        **heads,
        vocab_size=67,
        text_vocab_size=260,
        hidden_size=64,
        intermediate_size=128,
        max_position_embeddings=512,
        bos_token_id=256,
        pad_token_id=258,
        audio_token_id=258,
        audio_eos_token_id=259,
        codebook_pad_token_id=66,
        codebook_eos_token_id=0,
        depth_decoder_config={
            **heads,
            "vocab_size": 67,
            "backbone_hidden_size": 64,
            "hidden_size": 32,
            "intermediate_size": 64,
            "max_position_embeddings": 5,
        },
        codec_config={
            "model_type": "mimi",
            "num_quantizers": 4,
            "codebook_size": 64,
            "codebook_dim": 16,
            "vector_quantization_hidden_dimension": 16,
            "hidden_size": 32,
            "num_filters": 4,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "intermediate_size": 64,
            "upsample_groups": 32,
            "sliding_window": 250,
        },
    )


def build(config: Any, device: torch.device, dtype: torch.dtype, seed: int = 0, scale: float = 0.02) -> Any:
    """A transformers CsmForConditionalGeneration of `config`, weights normal with deviation `scale`, codec in fp32."""
    from transformers import CsmForConditionalGeneration
    from transformers.initialization import no_init_weights

    with _default_dtype(dtype), device, no_init_weights():
        network = CsmForConditionalGeneration(config).eval()
    network.codec_model.float()
    network.requires_grad_(requires_grad=False)
    generator = torch.Generator(device).manual_seed(seed)
    tile = torch.randn(_TILE, device=device, generator=generator).mul_(scale)
    for number, (name, parameter) in enumerate(network.named_parameters()):
        _fill(parameter.data, name, tile.roll(7919 * number), config)
    for module in network.modules():
        if type(module).__name__ == "MimiEuclideanCodebook":  # its codes are buffers, which start as zeros
            module.embed_sum.copy_(torch.randn(module.embed_sum.shape, device=device, generator=generator))
            module.cluster_usage.fill_(1)
            module._embed = None
    # `no_init_weights` skips what initialisation would set: this buffer, and the tying of the embeddings.
    offsets = torch.arange(config.num_codebooks, device=device) * config.vocab_size
    network.backbone_model.embed_tokens.audio_tokens_offsets.copy_(offsets)
    network.depth_decoder.model.embed_tokens.weight = network.backbone_model.embed_tokens.embed_audio_tokens.weight
    return network


def _fill(weight: torch.Tensor, name: str, tile: torch.Tensor, config: Any) -> None:
    if name.endswith("layer_scale.scale"):
        weight.fill_(config.codec_config.layer_scale_initial_scale)
    elif "norm" in name:
        weight.fill_(0 if name.endswith("bias") else 1)
    else:
        flat = weight.view(-1)
        for start in range(0, len(flat), len(tile)):
            piece = flat[start : start + len(tile)]
            piece.copy_(tile[: len(piece)])


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
