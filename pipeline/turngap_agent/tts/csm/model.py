"""Loads a CSM: the pinned real weights, a folder's, or random ones. Every error is one line.

The result is always a transformers network whose codec is in fp32 and whose heads are trimmed to the codes of the codec
(csm-1b's have three ids more; one of those, if drawn, would be out of the codebook's range).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from turngap_agent.device.execution import select_device
from turngap_agent.device.stand_in_tokenizer import StandInTokenizer
from turngap_agent.errors import EngineError, one_line
from turngap_agent.tts.csm import random_weights
from turngap_agent.tts.csm.text import FileTokenizer, Tokenizer

PINNED = "csm-1b"
"""The name of the real weights in `weights.toml`."""
_ARCHITECTURES = {"random": "csm_1b", "tiny": "tiny"}


@dataclass(frozen=True, slots=True)
class CsmCheckpoint:
    """A loaded network (transformers' CsmForConditionalGeneration) and the tokenizer that belongs to it."""

    network: Any
    tokenizer: Tokenizer
    origin: str
    """Where the weights come from, for people."""
    random: bool
    """Whether the weights are random: the work is real, but there are no words and no end of audio."""


def load(weights: str, *, device: str = "cuda", dtype: str = "auto") -> CsmCheckpoint:
    """Return the checkpoint `real`, `random` or `tiny`, or a folder's, on `device` (auto: bf16 on a GPU, else fp32).

    Raises:
        EngineError: no such device, too little memory, a damaged checkpoint.
        WeightsError: the real weights are missing and cannot be fetched: no access to the gated model, or no network.
    """
    torch_device = select_device(device, "csm", "tts")
    torch_dtype = {"auto": torch.float32 if torch_device.type == "cpu" else torch.bfloat16}.get(dtype) or getattr(
        torch, dtype
    )
    with silence_transformers():
        if weights in _ARCHITECTURES:
            config = getattr(random_weights, _ARCHITECTURES[weights])()
            _require_memory(config, torch_device, torch_dtype)
            with _explain_out_of_memory(torch_device):
                network = random_weights.build(config, torch_device, torch_dtype)
            tokenizer: Tokenizer = StandInTokenizer(config.bos_token_id)
            trim_heads(network)
            return CsmCheckpoint(network, tokenizer, "random weights", random=True)
        folder = _fetch_pinned() if weights == "real" else Path(weights).expanduser()
        network = _load_folder(folder, torch_device, torch_dtype)
    tokenizer = _load_tokenizer(folder)
    trim_heads(network)
    return CsmCheckpoint(network, tokenizer, PINNED if weights == "real" else str(folder), random=False)


def trim_heads(network: Any) -> None:
    """Keep only the rows of ids that the codec has; the depth decoder's heads become contiguous by row."""
    codes = network.config.codec_config.codebook_size
    network.lm_head.weight.data = network.lm_head.weight.data[:codes].clone()
    heads = network.depth_decoder.codebooks_head.weight
    heads.data = heads.data[:, :, :codes].transpose(1, 2).contiguous().transpose(1, 2)


def _fetch_pinned() -> Path:
    """Return the verified folder of the real weights, which are fetched if they are missing."""
    from turngap_agent import weights  # not above: random weights need none of its packages

    return weights.get(PINNED)


def _load_folder(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoConfig, CsmConfig, CsmForConditionalGeneration

    if not (folder / "config.json").is_file():
        raise EngineError(
            f"csm: {folder} contains no checkpoint (no config.json); set tts.weights to real, random or a folder"
        )
    try:
        config = AutoConfig.from_pretrained(folder)
        if not isinstance(config, CsmConfig):
            raise EngineError(
                f"csm: {folder} contains a {config.model_type} checkpoint, not a CSM one; correct tts.weights"
            )
        _require_memory(config, device, dtype)
        with _explain_out_of_memory(device):
            network, loading = CsmForConditionalGeneration.from_pretrained(
                folder,
                dtype="auto",
                output_loading_info=True,
                use_safetensors=True,  # a pickle could run code
            )
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise _damage_error(folder, one_line(error, 200)) from None
    missing = sorted(_tie_embeddings(network, set(loading["missing_keys"]))) + [
        str(key) for key in loading["mismatched_keys"]
    ]
    if missing:
        raise _damage_error(folder, f"{len(missing)} weights missing or of the wrong shape, first {missing[0]}")
    _move(network, device, dtype)
    return network


_EMBEDDINGS = (
    "backbone_model.embed_tokens.embed_audio_tokens.weight",
    "depth_decoder.model.embed_tokens.weight",
)
"""One matrix under two names; a checkpoint may contain either or both."""


def _tie_embeddings(network: Any, missing: set[str]) -> set[str]:
    """Make both embeddings the loaded one; return what is still missing. Not every release ties them."""
    if network.config.tie_codebooks_embeddings and not missing.issuperset(_EMBEDDINGS):
        backbone, depth = (
            network.backbone_model.embed_tokens.embed_audio_tokens,
            network.depth_decoder.model.embed_tokens,
        )
        if _EMBEDDINGS[0] in missing:
            backbone.weight = depth.weight
        else:
            depth.weight = backbone.weight
        return missing.difference(_EMBEDDINGS)
    return missing


def _damage_error(folder: Path, why: str) -> EngineError:
    return EngineError(f"csm: the checkpoint in {folder} is damaged ({why}); delete the folder and fetch it again")


def _move(network: Any, device: torch.device, dtype: torch.dtype) -> None:
    """Move to the device: the codec in fp32, other weights in `dtype`. Buffers keep theirs: rotary ones are fp32."""
    network.eval().requires_grad_(requires_grad=False)
    with _explain_out_of_memory(device):
        codec = {id(parameter) for parameter in network.codec_model.parameters()}
        for parameter in network.parameters():
            parameter.data = parameter.data.to(device, torch.float32 if id(parameter) in codec else dtype)
        network.to(device)
        network.codec_model.float()


def _load_tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise _damage_error(folder, "no tokenizer.json")
    try:
        return FileTokenizer(path)
    except Exception as error:  # noqa: BLE001 - the package raises bare Exception
        raise _damage_error(folder, f"tokenizer.json: {one_line(error, 200)}") from None


def needed_bytes(config: Any, dtype: torch.dtype) -> int:
    """Return the bytes of the loaded weights of `config`, with the projected table and a tenth for loading."""
    from transformers import CsmForConditionalGeneration

    with torch.device("meta"):
        network = CsmForConditionalGeneration(config)
    weights = sum(int(parameter.numel()) for parameter in network.parameters()) * int(dtype.itemsize)
    return round(1.1 * weights)


def available_bytes(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Return the memory a program can get, page caches included; None if the system does not report it."""
    with suppress(OSError):
        if match := re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo.read_text(), re.MULTILINE):
            return int(match[1]) * 1024
    try:  # only the free pages, which are less
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _require_memory(config: Any, device: torch.device, dtype: torch.dtype) -> None:
    needed, free = needed_bytes(config, dtype), _free_bytes(device)
    if free is not None and free < needed:
        raise EngineError(
            f"csm: the model needs about {needed / 2**30:.1f} GiB on {device}, {free / 2**30:.1f} GiB are free; stop "
            "other programs that use it, or choose another tts.device"
        )


def _free_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_bytes()


@contextmanager
def _explain_out_of_memory(device: torch.device) -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise EngineError(
            f"csm: {device} ran out of memory ({one_line(error, 200)}); stop other programs that use it, or "
            "choose another tts.device"
        ) from None


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Hide warnings about CSM's token ids and progress bars: errors are raised, not logged."""
    from transformers.utils import logging as transformers_logging

    logger = logging.getLogger("transformers")
    before, bars = logger.level, transformers_logging.is_progress_bar_enabled()
    logger.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(before)
        if bars:
            transformers_logging.enable_progress_bar()
