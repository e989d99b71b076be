"""Which GPU the agent uses: the profile's, else the first of CUDA_VISIBLE_DEVICES, else the first. Read from NVML.

The environment names it before CUDA starts, so that every library and vLLM see only that GPU. A card is named there by
its number, in nvidia-smi's order: some versions of vLLM do not accept UUIDs.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pynvml

from turngap_agent.errors import EngineError

_EXCLUSIVE, _PROHIBITED = 3, 2
"""nvmlComputeMode_t: one process at a time, none at all."""


class NoGpuError(EngineError):
    """There is no GPU at all, or no driver."""


@dataclass(frozen=True, slots=True)
class ChosenGpu:
    """The GPU, or the MIG slice of one, that all engines use."""

    uuid: str
    name: str
    number: int
    """Of its card, as nvidia-smi counts."""
    handle: Any
    nvml: ModuleType
    candidates: int = 1
    """How many there were to choose from, if nothing named one."""

    @property
    def is_slice(self) -> bool:
        """A MIG slice, not a whole card."""
        return self.uuid.startswith("MIG-")

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make CUDA see only this GPU, as device 0."""
        if self.is_slice:
            return {"CUDA_VISIBLE_DEVICES": self.uuid}
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(self.number)}

    @property
    def label(self) -> str:
        """For messages: "GPU 0 (NVIDIA H200)"."""
        return f"{'a slice of ' if self.is_slice else ''}GPU {self.number} ({self.name})"


def choose(
    device: int | str | None = None, *, environment: Mapping[str, str] = os.environ, nvml: ModuleType = pynvml
) -> ChosenGpu:
    """Return the GPU that `device` (of the profile's section `gpu`) and CUDA_VISIBLE_DEVICES name.

    Raises:
        NoGpuError: there is none.
        EngineError: what they name does not exist, or a card is partitioned into slices and none is named.
    """
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        raise NoGpuError(
            f"no NVIDIA GPU: {_line(error)}; install the driver (`nvidia-smi` must list the GPU; a container needs "
            "--gpus), or choose a profile that needs none, such as cpu"
        ) from None
    if not count:
        raise NoGpuError("no NVIDIA GPU: the driver counts none; check `nvidia-smi -L`, or choose the profile cpu")
    try:
        cards = {number: nvml.nvmlDeviceGetHandleByIndex(number) for number in range(count)}
        shown = _visible_gpus(environment.get("CUDA_VISIBLE_DEVICES"), cards, nvml)
        return _select(device, shown, nvml)
    except nvml.NVMLError as error:
        raise EngineError(f"the GPUs cannot be read ({_line(error)}); check `nvidia-smi`") from None


def check_mode(choice: ChosenGpu, processes: int, *, mps: bool) -> None:
    """Check that the card's compute mode allows this many processes.

    Raises:
        EngineError: it does not.
    """
    try:
        mode = choice.nvml.nvmlDeviceGetComputeMode(choice.handle)
    except choice.nvml.NVMLError:
        return
    remedy = f"run: sudo nvidia-smi -i {choice.number} -c DEFAULT"
    if mode == _PROHIBITED:
        raise EngineError(f"{choice.label} is in compute mode PROHIBITED, which allows no process to use it; {remedy}")
    if mode == _EXCLUSIVE and processes > 1 and not mps:
        raise EngineError(
            f"{choice.label} is in compute mode EXCLUSIVE_PROCESS, and {processes} processes of the agent need it; set "
            f"gpu.mps: true, or {remedy}"
        )


def _visible_gpus(visible: str | None, cards: dict[int, Any], nvml: ModuleType) -> list[ChosenGpu]:
    """Return the GPUs that CUDA shows, in its order: whole cards, and slices that are named."""
    whole = {number: _read_gpu(handle, number, nvml) for number, handle in cards.items()}
    if visible is None:
        return list(whole.values())
    visible_gpus: list[ChosenGpu] = []
    for entry in filter(None, (part.strip() for part in visible.split(","))):
        if entry.isdigit() and int(entry) in whole:
            visible_gpus.append(whole[int(entry)])
            continue
        match = _by_uuid(entry, [one for card in whole.values() for one in (card, *_slices(card))])
        if match is None:
            break  # as CUDA does: nothing after an invalid entry is shown
        visible_gpus.append(match)
    if not visible_gpus:
        raise EngineError(
            f"CUDA_VISIBLE_DEVICES={visible!r} shows no GPU; there are {_list(whole.values())}: correct or unset it"
        )
    return visible_gpus


def _select(device: int | str | None, shown: list[ChosenGpu], nvml: ModuleType) -> ChosenGpu:
    if isinstance(device, str):
        match = _by_uuid(device, [one for card in shown for one in (card, *_slices(card))])
        if match is None:
            raise EngineError(f"gpu.device: {device} is not among the GPUs here: {_list(shown)}; see `nvidia-smi -L`")
        return match if match.is_slice else _as_usable(match)
    if device is not None and device >= len(shown):
        raise EngineError(
            f"gpu.device: {device}, but there are {len(shown)} GPUs to choose from, counted from 0: {_list(shown)}"
        )
    chosen = _as_usable(shown[device or 0])
    return dataclasses.replace(chosen, candidates=len(shown) if device is None else 1)


def _as_usable(card: ChosenGpu) -> ChosenGpu:
    """Return the card, or its only slice if it is partitioned."""
    if card.is_slice or not _is_partitioned(card):
        return card
    slices = _slices(card)
    if not slices:
        raise EngineError(
            f"{card.label} is in MIG mode and has no slices; make one (sudo nvidia-smi mig -i {card.number} -cgi 0 "
            f"-C), or turn MIG off (sudo nvidia-smi -i {card.number} -mig 0)"
        )
    if len(slices) > 1:
        names = ", ".join(one.uuid for one in slices)
        raise EngineError(
            f"{card.label} is partitioned into {len(slices)} MIG slices, and a program can use only one: set "
            f"gpu.device to one of {names}, or turn MIG off (sudo nvidia-smi -i {card.number} -mig 0)"
        )
    return slices[0]


def _is_partitioned(card: ChosenGpu) -> bool:
    mode = _query(card.nvml, card.nvml.nvmlDeviceGetMigMode, card.handle)
    return bool(mode) and mode[0] == 1  # NVML_DEVICE_MIG_ENABLE


def _slices(card: ChosenGpu) -> list[ChosenGpu]:
    if card.is_slice or not _is_partitioned(card):
        return []
    nvml = card.nvml
    places = range(_query(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, card.handle) or 0)
    handles = (_query(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, card.handle, place) for place in places)
    return [_read_gpu(handle, card.number, nvml) for handle in handles if handle is not None]


def _read_gpu(handle: Any, number: int, nvml: ModuleType) -> ChosenGpu:
    name = _text(_query(nvml, nvml.nvmlDeviceGetName, handle)) or "unknown GPU"
    return ChosenGpu(_text(nvml.nvmlDeviceGetUUID(handle)), name, number, handle, nvml)


def _by_uuid(prefix: str, among: list[ChosenGpu]) -> ChosenGpu | None:
    """Return the GPU whose UUID starts with that, as CUDA accepts it, if only one does."""
    matches = [one for one in among if one.uuid.startswith(prefix)] if prefix.startswith(("GPU-", "MIG-")) else []
    return matches[0] if len(matches) == 1 else None


def _list(choices: Any) -> str:
    return ", ".join(f"{one.number} {one.name} ({one.uuid})" for one in choices)


def _query(nvml: ModuleType, call: Callable[..., Any], *arguments: Any) -> Any:
    """Return what NVML answers; None if the card does not support the query."""
    try:
        return call(*arguments)
    except nvml.NVMLError:
        return None


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
