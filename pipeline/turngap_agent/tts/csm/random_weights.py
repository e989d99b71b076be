"""CSM-1B's exact architecture with random weights, to measure its time and memory on a GPU; and a tiny one, for tests.

Neither latency nor memory depends on the values. It needs no download and no licence.
"""

from __future__ import annotations

from typing import Any

import torch

from turngap_agent.device import random_weights


def csm_1b() -> Any:
    """Return transformers' defaults, which are csm-1b's tensor shapes (its rotary scaling differs, at no cost)."""
    from transformers import CsmConfig

    return CsmConfig()


def tiny() -> Any:
    """Return a CSM of 0.3 million parameters: 2 layers, 4 codebooks of 64 codes, 512 positions; frames of 80 ms too."""
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
    """Return a transformers CsmForConditionalGeneration with normal weights of deviation `scale`, codec in fp32."""
    from transformers import CsmForConditionalGeneration

    network = random_weights.build(lambda: CsmForConditionalGeneration(config), device, dtype)
    network.codec_model.float()
    layer_scale = {"layer_scale.scale": config.codec_config.layer_scale_initial_scale}
    generator = random_weights.fill(network, seed=seed, scale=scale, constants=layer_scale)
    for module in network.modules():
        if type(module).__name__ == "MimiEuclideanCodebook":  # its codes are buffers, which start as zeros
            module.embed_sum.copy_(torch.randn(module.embed_sum.shape, device=device, generator=generator))
            module.cluster_usage.fill_(1)
            module._embed = None
    # The network was not initialised, so this buffer is not set, and the embeddings are not tied.
    offsets = torch.arange(config.num_codebooks, device=device) * config.vocab_size
    network.backbone_model.embed_tokens.audio_tokens_offsets.copy_(offsets)
    network.depth_decoder.model.embed_tokens.weight = network.backbone_model.embed_tokens.embed_audio_tokens.weight
    return network
