"""Loads a Whisper for one length of encoder window, from a folder or with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from turngap_agent import weights as pinned
from turngap_agent.device import random_weights
from turngap_agent.errors import EngineError, one_line
from turngap_agent.weights import pins

FRAMES_PER_SECOND = 100
"""Of the mel spectrogram; the encoder halves the rate."""
SCALE = 0.02


@dataclass(frozen=True, slots=True)
class WhisperCheckpoint:
    """A loaded network (transformers' WhisperForConditionalGeneration) with its feature extractor and tokenizer."""

    network: Any
    extractor: Any
    tokenizer: Any
    """A `tokenizers.Tokenizer`; None for random weights, which know no words."""
    prompt: tuple[int, ...]
    """The decoder's first ids."""
    origin: str


def distil_large_v3() -> Any:
    """Return distil-large-v3's configuration: 32 encoder and 2 decoder layers of width 1280, 756 million parameters."""
    from transformers import WhisperConfig

    return WhisperConfig(
        vocab_size=51_866,
        num_mel_bins=128,
        d_model=1280,
        encoder_layers=32,
        encoder_attention_heads=20,
        encoder_ffn_dim=5120,
        decoder_layers=2,
        decoder_attention_heads=20,
        decoder_ffn_dim=5120,
        max_target_positions=448,
        decoder_start_token_id=50_258,
        bos_token_id=50_257,
        eos_token_id=50_257,
        pad_token_id=50_256,
    )


def tiny() -> Any:
    """Return a configuration for tests: 2 encoder and 2 decoder layers of width 32."""
    from transformers import WhisperConfig

    sizes = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    return WhisperConfig(
        **sizes,
        vocab_size=128,
        num_mel_bins=16,
        d_model=32,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_target_positions=64,
        decoder_start_token_id=120,
        bos_token_id=121,
        eos_token_id=121,
        pad_token_id=122,
    )


ARCHITECTURES = {"random": distil_large_v3, "tiny": tiny}
_ENGLISH = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")


def load(weights: str, device: torch.device, dtype: torch.dtype, window_s: int) -> WhisperCheckpoint:
    """Return the checkpoint `random` (distil-large-v3) or `tiny`, the one pinned under that name, or a folder's.

    `window_s` is the length of the encoder window.

    Raises:
        EngineError: the folder contains no Whisper, or a damaged one; too little memory.
        WeightsError: the pinned weights are missing and cannot be fetched.
    """
    try:
        if weights in ARCHITECTURES:
            return _load_random(weights, device, dtype, window_s)
        folder = pinned.get(weights) if weights in pins.shipped() else Path(weights).expanduser()
        return _load_folder(folder, device, dtype, window_s)
    except torch.OutOfMemoryError as error:
        raise EngineError(
            f"whisper: {device} ran out of memory ({one_line(error)}); stop other programs that use it"
        ) from None


def _load_random(name: str, device: torch.device, dtype: torch.dtype, window_s: int) -> WhisperCheckpoint:
    from transformers import WhisperForConditionalGeneration

    config = ARCHITECTURES[name]()
    config.max_source_positions = _positions(window_s)
    network = random_weights.build(lambda: WhisperForConditionalGeneration(config), device, dtype)
    random_weights.fill(network, seed=0, scale=SCALE)
    network.proj_out.weight = network.model.decoder.embed_tokens.weight
    prompt = (config.decoder_start_token_id,) * len(_ENGLISH)
    return WhisperCheckpoint(network, _make_extractor(config.num_mel_bins, window_s), None, prompt, "random weights")


def _load_folder(folder: Path, device: torch.device, dtype: torch.dtype, window_s: int) -> WhisperCheckpoint:
    from tokenizers import Tokenizer
    from transformers import AutoConfig, WhisperConfig, WhisperForConditionalGeneration

    if not (folder / "config.json").is_file():
        raise EngineError(
            f"whisper: {folder} contains no checkpoint (no config.json); set stt.weights to random or to a folder"
        )
    try:
        config = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise _damage_error(folder, error) from None
    if not isinstance(config, WhisperConfig):
        raise EngineError(f"whisper: {folder} contains a {config.model_type} checkpoint; correct stt.weights")
    try:
        # `use_safetensors`: a pickle could run code.
        loaded = WhisperForConditionalGeneration.from_pretrained(folder, dtype=dtype, use_safetensors=True)
        network = loaded.eval().to(device)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # noqa: BLE001 - the packages have no common class for a damaged file
        raise _damage_error(folder, error) from None
    network.requires_grad_(requires_grad=False)
    positions = _positions(window_s)
    encoder = network.model.encoder
    encoder.embed_positions = torch.nn.Embedding.from_pretrained(encoder.embed_positions.weight[:positions].clone())
    network.config.max_source_positions = positions
    prompt = tuple(number for mark in _ENGLISH if (number := tokenizer.token_to_id(mark)) is not None)
    return WhisperCheckpoint(network, _make_extractor(config.num_mel_bins, window_s), tokenizer, prompt, str(folder))


def _damage_error(folder: Path, error: Exception) -> EngineError:
    return EngineError(f"whisper: the checkpoint in {folder} is damaged ({one_line(error)}); fetch it again")


def _make_extractor(mel_bins: int, window_s: int) -> Any:
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(feature_size=mel_bins, chunk_length=window_s)


def _positions(window_s: int) -> int:
    return window_s * FRAMES_PER_SECOND // 2
