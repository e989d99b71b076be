"""CTranslate2 on a GPU: CUDA 12's cuBLAS found where pip puts it, and what fails told in one line with the remedy."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import ctranslate2

from turngap_agent.errors import EngineError

_CUBLAS = ("libcublasLt.so.12", "libcublas.so.12")
"""In this order: the second needs the first."""


def prepare(section: str, device: str) -> None:
    """Make sure that CTranslate2 can use the GPU, for the engine of that section of the profile.

    Nothing happens for the CPU. cuBLAS from `nvidia-cublas-cu12` is loaded here, since the loader does not look into
    Python packages; CTranslate2, which asks for it by its name later, is then given this one.

    Raises:
        EngineError: there is none.
    """
    if device != "cuda":
        return
    _load_cublas()
    with explained(section):
        count = ctranslate2.get_cuda_device_count()
    if not count:
        raise EngineError(
            f"{section}: {section}.device is cuda, but CTranslate2 sees no NVIDIA GPU; check nvidia-smi and "
            f"CUDA_VISIBLE_DEVICES, or set {section}.device: cpu"
        )


@contextmanager
def explained(section: str) -> Iterator[None]:
    """Give what CTranslate2 raises inside as one line with the remedy, where one is known.

    Raises:
        EngineError: a fault that is known.
    """
    try:
        yield
    except (RuntimeError, ValueError) as fault:
        text = " ".join(str(fault).split())
        remedy = next((remedy for mark, remedy in _REMEDIES.items() if mark in text), None)
        if remedy is None:
            raise
        raise EngineError(f"{section}: {text}: {remedy.format(section=section)}") from fault


_REMEDIES = {
    "libcublas": (
        "CTranslate2 needs cuBLAS of CUDA 12 (13 alone will not do): run `pip install nvidia-cublas-cu12`, or put the "
        "folder that has it into LD_LIBRARY_PATH"
    ),
    "libcudnn": (
        "this CTranslate2 needs cuDNN 9 of CUDA 12: run `pip install -U ctranslate2` for one that needs none, or "
        "`pip install nvidia-cudnn-cu12` and put the folder that has it into LD_LIBRARY_PATH"
    ),
    "driver version is insufficient": (
        "the NVIDIA driver is missing, or older than CUDA 12: check nvidia-smi, or set {section}.device: cpu"
    ),
    "no CUDA-capable device": "check nvidia-smi and CUDA_VISIBLE_DEVICES, or set {section}.device: cpu",
    "out of memory": (
        "the GPU's memory is used up: stop what else uses it, take a smaller model or {section}.compute_type: "
        "int8_float16, or lower llm.gpu_memory_share"
    ),
    "compute type": "float16 and int8_float16 are a GPU's, int8 and float32 a CPU's: correct {section}.compute_type",
}
"""What CTranslate2 says → what to do."""


def _load_cublas() -> None:
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        for name in _CUBLAS:
            library = Path(place) / "cublas" / "lib" / name
            if library.is_file():
                # One that can't be loaded: CTranslate2 may find another, and says so if it doesn't.
                with suppress(OSError):
                    ctypes.CDLL(str(library))
