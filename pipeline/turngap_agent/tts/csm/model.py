"""Loads a CSM: the pinned real weights, a folder, or random weights; every fault is one clear line.

Whatever the source, what comes out is a transformers network whose codec is in fp32, and whose heads are trimmed to the
codes the codec has (csm-1b's have three ids more; drawn, one would index past the codebook).
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

from turngap_agent.device.place import device as device_of
from turngap_agent.device.tokens import StandInTokenizer
from turngap_agent.errors import EngineError
from turngap_agent.tts.csm import random_weights
from turngap_agent.tts.csm.tokens import FileTokenizer, Tokenizer

PINNED = "csm-1b"
"""The real weights' name in `pipeline/turngap_agent/weights.toml`."""
_ARCHITECTURES = {"random": "csm_1b", "tiny": "tiny"}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded network (transformers' CsmForConditionalGeneration) and the tokenizer that belongs to it."""

    network: Any
    tokenizer: Tokenizer
    origin: str
    """Where the weights are from, for people."""
    random: bool
    """Random weights: real work, but no words, and no end of its own."""


def load(weights: str, *, device: str = "cuda", dtype: str = "auto") -> Checkpoint:
    """The weights `real`, `random` or `tiny`, or a folder's, on `device`, in `dtype` (auto: bf16 on a GPU, else fp32).

    Raises:
        EngineError: no such device, too little memory, a damaged checkpoint.
        WeightsError: the real weights are neither here nor to be fetched: no access to what is gated, no network.
    """
    place = device_of(device, "csm", "tts")
    number = {"auto": torch.float32 if place.type == "cpu" else torch.bfloat16}.get(dtype) or getattr(torch, dtype)
    with _quiet():
        if weights in _ARCHITECTURES:
            config = getattr(random_weights, _ARCHITECTURES[weights])()
            _require_memory(config, place, number)
            with _memory_explained(place):
                network = random_weights.build(config, place, number)
            tokenizer: Tokenizer = StandInTokenizer(config.bos_token_id)
            trim_heads(network)
            return Checkpoint(network, tokenizer, "random weights", random=True)
        folder = _pinned() if weights == "real" else Path(weights).expanduser()
        network = _from_folder(folder, place, number)
    tokenizer = _tokenizer(folder)
    trim_heads(network)
    return Checkpoint(network, tokenizer, PINNED if weights == "real" else str(folder), random=False)


def trim_heads(network: Any) -> None:
    """Keep only the rows for ids that the codec has; the depth decoder's heads become contiguous by row."""
    codes = network.config.codec_config.codebook_size
    network.lm_head.weight.data = network.lm_head.weight.data[:codes].clone()
    heads = network.depth_decoder.codebooks_head.weight
    heads.data = heads.data[:, :, :codes].transpose(1, 2).contiguous().transpose(1, 2)


def _pinned() -> Path:
    """The verified folder of the real weights, fetched if need be."""
    from turngap_agent import weights  # not above: random weights need none of what it needs

    return weights.get(PINNED)


def _from_folder(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoConfig, CsmConfig, CsmForConditionalGeneration

    if not (folder / "config.json").is_file():
        raise EngineError(
            f"csm: {folder} holds no checkpoint (no config.json); tts.weights is real, random or a folder"
        )
    try:
        config = AutoConfig.from_pretrained(folder)
        if not isinstance(config, CsmConfig):
            raise EngineError(
                f"csm: {folder} holds a {config.model_type} checkpoint, not a CSM one; correct tts.weights"
            )
        _require_memory(config, device, dtype)
        with _memory_explained(device):
            network, loading = CsmForConditionalGeneration.from_pretrained(
                folder, dtype="auto", output_loading_info=True
            )
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as fault:
        raise _damaged(folder, line(fault)) from None
    missing = sorted(_tied(network, set(loading["missing_keys"]))) + [str(key) for key in loading["mismatched_keys"]]
    if missing:
        raise _damaged(folder, f"{len(missing)} weights missing or of the wrong shape, first {missing[0]}")
    _place(network, device, dtype)
    return network


_EMBEDDINGS = (
    "backbone_model.embed_tokens.embed_audio_tokens.weight",
    "depth_decoder.model.embed_tokens.weight",
)
"""One matrix under two names; a checkpoint may hold either or both."""


def _tied(network: Any, missing: set[str]) -> set[str]:
    """Make both embeddings one, from whichever was loaded; gives what is missing still. Not every release ties them."""
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


def _damaged(folder: Path, why: str) -> EngineError:
    return EngineError(f"csm: the checkpoint in {folder} is damaged ({why}); delete the folder and fetch it again")


def _place(network: Any, device: torch.device, dtype: torch.dtype) -> None:
    """Move to the device; the codec in fp32, other weights in `dtype`. Buffers keep theirs: rotary ones are fp32."""
    network.eval().requires_grad_(requires_grad=False)
    with _memory_explained(device):
        codec = {id(parameter) for parameter in network.codec_model.parameters()}
        for parameter in network.parameters():
            parameter.data = parameter.data.to(device, torch.float32 if id(parameter) in codec else dtype)
        network.to(device)
        network.codec_model.float()


def _tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise _damaged(folder, "no tokenizer.json")
    try:
        return FileTokenizer(path)
    except Exception as fault:  # noqa: BLE001 - the package raises bare Exception
        raise _damaged(folder, f"tokenizer.json: {line(fault)}") from None


def needed_bytes(config: Any, dtype: torch.dtype) -> int:
    """What the weights of `config` take once loaded, with the projected table and a tenth for what loading holds."""
    from transformers import CsmForConditionalGeneration

    with torch.device("meta"):
        network = CsmForConditionalGeneration(config)
    weights = sum(int(parameter.numel()) for parameter in network.parameters()) * int(dtype.itemsize)
    return round(1.1 * weights)


def available_bytes(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Memory that a program can have, caches that would be given up for it included; None where no one says."""
    with suppress(OSError):
        if found := re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo.read_text(), re.MULTILINE):
            return int(found[1]) * 1024
    try:  # free pages alone: less than there is
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _require_memory(config: Any, device: torch.device, dtype: torch.dtype) -> None:
    needed, free = needed_bytes(config, dtype), _free_bytes(device)
    if free is not None and free < needed:
        raise EngineError(
            f"csm: the model needs about {needed / 2**30:.1f} GiB on {device}, {free / 2**30:.1f} GiB are free; stop "
            "what else uses it, or choose another tts.device"
        )


def _free_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_bytes()


@contextmanager
def _memory_explained(device: torch.device) -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as fault:
        raise EngineError(
            f"csm: {device} ran out of memory ({line(fault)}); stop what else uses it, or choose another tts.device"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of CSM's own token ids, no progress bars: faults are raised, not logged."""
    from transformers.utils import logging as chatter

    logger = logging.getLogger("transformers")
    before, bars = logger.level, chatter.is_progress_bar_enabled()
    logger.setLevel(logging.ERROR)
    chatter.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(before)
        if bars:
            chatter.enable_progress_bar()


def line(fault: BaseException) -> str:
    """A fault's message on one line, shortened."""
    return " ".join(str(fault).split())[:200] or type(fault).__name__
