"""Which GPU the agent uses: by the profile, else by CUDA_VISIBLE_DEVICES, else the first. Read from NVML.

The choice is put into the environment before CUDA starts, so that every library and vLLM see that one GPU and no other.
A card is named there by its number, in nvidia-smi's order: vLLM does not take UUIDs in all its versions.
"""

from __future__ import annotations

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
class Choice:
    """The GPU, or the MIG slice of one, that all engines use."""

    uuid: str
    name: str
    number: int
    """Of its card, as nvidia-smi counts."""
    handle: Any
    nvml: ModuleType
    several: int = 1
    """How many there were to choose from where nobody chose."""

    @property
    def is_slice(self) -> bool:
        """A MIG slice, not a whole card."""
        return self.uuid.startswith("MIG-")

    @property
    def environment(self) -> dict[str, str]:
        """What makes CUDA see it and nothing else, as device 0."""
        if self.is_slice:
            return {"CUDA_VISIBLE_DEVICES": self.uuid}
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(self.number)}

    @property
    def words(self) -> str:
        """For messages: "GPU 0 (NVIDIA H200)"."""
        return f"{'a slice of ' if self.is_slice else ''}GPU {self.number} ({self.name})"


def choose(
    device: int | str | None = None, *, environment: Mapping[str, str] = os.environ, nvml: ModuleType = pynvml
) -> Choice:
    """The GPU that `device` (of the profile's section `gpu`) and CUDA_VISIBLE_DEVICES name.

    Raises:
        NoGpuError: there is none.
        EngineError: what they name is not there, or a card is cut into slices and none is named.
    """
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as fault:
        raise NoGpuError(
            f"no NVIDIA GPU: {_line(fault)}; install the driver (`nvidia-smi` must list the GPU; a container needs "
            "--gpus), or choose a profile that needs none, such as cpu"
        ) from None
    if not count:
        raise NoGpuError("no NVIDIA GPU: the driver counts none; check `nvidia-smi -L`, or choose the profile cpu")
    try:
        cards = {number: nvml.nvmlDeviceGetHandleByIndex(number) for number in range(count)}
        shown = _shown(environment.get("CUDA_VISIBLE_DEVICES"), cards, nvml)
        return _chosen(device, shown, nvml)
    except nvml.NVMLError as fault:
        raise EngineError(f"the GPUs cannot be read ({_line(fault)}); check `nvidia-smi`") from None


def check_mode(choice: Choice, processes: int, *, mps: bool) -> None:
    """Refuse a card that so many processes may not use.

    Raises:
        EngineError: its compute mode forbids it.
    """
    try:
        mode = choice.nvml.nvmlDeviceGetComputeMode(choice.handle)
    except choice.nvml.NVMLError:
        return
    remedy = f"run: sudo nvidia-smi -i {choice.number} -c DEFAULT"
    if mode == _PROHIBITED:
        raise EngineError(f"{choice.words} is in compute mode PROHIBITED, which lets nobody use it; {remedy}")
    if mode == _EXCLUSIVE and processes > 1 and not mps:
        raise EngineError(
            f"{choice.words} is in compute mode EXCLUSIVE_PROCESS, and {processes} processes of the agent need it; set "
            f"gpu.mps: true, or {remedy}"
        )


def _shown(visible: str | None, cards: dict[int, Any], nvml: ModuleType) -> list[Choice]:
    """What CUDA shows, in its order; whole cards, and slices that are named."""
    whole = {number: _seen(handle, number, nvml) for number, handle in cards.items()}
    if visible is None:
        return list(whole.values())
    found: list[Choice] = []
    for entry in filter(None, (part.strip() for part in visible.split(","))):
        if entry.isdigit() and int(entry) in whole:
            found.append(whole[int(entry)])
            continue
        match = _by_uuid(entry, [one for card in whole.values() for one in (card, *_slices(card))])
        if match is None:
            break  # as CUDA does: what follows an entry that is none is not shown
        found.append(match)
    if not found:
        raise EngineError(
            f"CUDA_VISIBLE_DEVICES={visible!r} shows no GPU; there are {_list(whole.values())}: correct or unset it"
        )
    return found


def _chosen(device: int | str | None, shown: list[Choice], nvml: ModuleType) -> Choice:
    if isinstance(device, str):
        match = _by_uuid(device, [one for card in shown for one in (card, *_slices(card))])
        if match is None:
            raise EngineError(f"gpu.device: {device} is not among the GPUs here: {_list(shown)}; see `nvidia-smi -L`")
        return match if match.is_slice else _whole(match)
    if device is not None and device >= len(shown):
        raise EngineError(
            f"gpu.device: {device}, but there are {len(shown)} GPUs to choose from, counted from 0: {_list(shown)}"
        )
    found = _whole(shown[device or 0])
    several = len(shown) if device is None else 1
    return Choice(found.uuid, found.name, found.number, found.handle, nvml, several)


def _whole(card: Choice) -> Choice:
    """The card, or its only slice where it is cut."""
    if card.is_slice or not _is_cut(card):
        return card
    slices = _slices(card)
    if not slices:
        raise EngineError(
            f"{card.words} is in MIG mode and has no slices; make one (sudo nvidia-smi mig -i {card.number} -cgi 0 "
            f"-C), or turn MIG off (sudo nvidia-smi -i {card.number} -mig 0)"
        )
    if len(slices) > 1:
        names = ", ".join(one.uuid for one in slices)
        raise EngineError(
            f"{card.words} is cut into {len(slices)} MIG slices, and a program can use one alone: set gpu.device to "
            f"one of {names}, or turn MIG off (sudo nvidia-smi -i {card.number} -mig 0)"
        )
    return slices[0]


def _is_cut(card: Choice) -> bool:
    mode = _ask(card.nvml, card.nvml.nvmlDeviceGetMigMode, card.handle)
    return bool(mode) and mode[0] == 1  # NVML_DEVICE_MIG_ENABLE


def _slices(card: Choice) -> list[Choice]:
    if card.is_slice or not _is_cut(card):
        return []
    nvml = card.nvml
    places = range(_ask(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, card.handle) or 0)
    handles = (_ask(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, card.handle, place) for place in places)
    return [_seen(handle, card.number, nvml) for handle in handles if handle is not None]


def _seen(handle: Any, number: int, nvml: ModuleType) -> Choice:
    name = _text(_ask(nvml, nvml.nvmlDeviceGetName, handle)) or "unknown GPU"
    return Choice(_text(nvml.nvmlDeviceGetUUID(handle)), name, number, handle, nvml)


def _by_uuid(asked: str, among: list[Choice]) -> Choice | None:
    """The one whose UUID begins so, as CUDA takes it, if it is one alone."""
    found = [one for one in among if one.uuid.startswith(asked)] if asked.startswith(("GPU-", "MIG-")) else []
    return found[0] if len(found) == 1 else None


def _list(choices: Any) -> str:
    return ", ".join(f"{one.number} {one.name} ({one.uuid})" for one in choices)


def _ask(nvml: ModuleType, call: Callable[..., Any], *arguments: Any) -> Any:
    """What NVML answers; None where the card does not support it."""
    try:
        return call(*arguments)
    except nvml.NVMLError:
        return None


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def _line(fault: Exception) -> str:
    return " ".join(str(fault).split())
