"""CTranslate2 on a GPU: loads CUDA 12's cuBLAS from Python packages, and adds the remedy to known errors."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import ctranslate2

from turngap_agent.errors import EngineError, one_line

_CUBLAS = ("libcublasLt.so.12", "libcublas.so.12")
"""In the order of loading: the second needs the first."""


def prepare_gpu(section: str, device: str) -> None:
    """Check that CTranslate2 can use the GPU, for the engine of that section of the profile; nothing for the CPU.

    cuBLAS from `nvidia-cublas-cu12` is loaded here, since the loader does not look into Python packages; CTranslate2
    loads it later by the same name, and then gets this one.

    Raises:
        EngineError: there is no usable GPU.
    """
    if device != "cuda":
        return
    _load_cublas()
    with explain_errors(section):
        count = ctranslate2.get_cuda_device_count()
    if not count:
        raise EngineError(
            f"{section}: {section}.device is cuda, but CTranslate2 sees no NVIDIA GPU; check nvidia-smi and "
            f"CUDA_VISIBLE_DEVICES, or set {section}.device: cpu"
        )


@contextmanager
def explain_errors(section: str) -> Iterator[None]:
    """Turn a known error of CTranslate2 into one line with its remedy; other errors pass.

    Raises:
        EngineError: CTranslate2 raised an error with a known remedy.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        text = one_line(error)
        remedy = next((remedy for sign, remedy in _REMEDIES.items() if sign in text), None)
        if remedy is None:
            raise
        raise EngineError(f"{section}: {text}: {remedy.format(section=section)}") from error


_REMEDIES = {
    "libcublas": (
        "CTranslate2 needs cuBLAS of CUDA 12 (CUDA 13's alone does not work): run `pip install nvidia-cublas-cu12`, or "
        "add the folder that contains it to LD_LIBRARY_PATH"
    ),
    "libcudnn": (
        "this CTranslate2 needs cuDNN 9 of CUDA 12: run `pip install -U ctranslate2` for one that needs none, or "
        "`pip install nvidia-cudnn-cu12` and add the folder that contains it to LD_LIBRARY_PATH"
    ),
    "driver version is insufficient": (
        "the NVIDIA driver is missing, or older than CUDA 12: check nvidia-smi, or set {section}.device: cpu"
    ),
    "no CUDA-capable device": "check nvidia-smi and CUDA_VISIBLE_DEVICES, or set {section}.device: cpu",
    "out of memory": (
        "the GPU's memory is full: stop other programs that use it, choose a smaller model or {section}.compute_type: "
        "int8_float16, or lower llm.gpu_memory_share"
    ),
    "compute type": ("float16 and int8_float16 need a GPU, int8 and float32 a CPU: correct {section}.compute_type"),
}
"""Part of CTranslate2's message → what to do."""


def _load_cublas() -> None:
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for name in _CUBLAS:
            library = Path(folder) / "cublas" / "lib" / name
            if library.is_file():
                # One that cannot be loaded is no error yet: CTranslate2 may find another, and reports it otherwise.
                with suppress(OSError):
                    ctypes.CDLL(str(library))
