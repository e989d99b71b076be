"""Whether a machine can run a profile at all: looked at before gigabytes are fetched for it. Loads no engine."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil

from turngap_agent.errors import EngineError
from turngap_agent.memory import plan
from turngap_agent.profile import Profile

_PACKAGES = {
    "faster_whisper": ("faster_whisper", "cpu"),
    "whisper": ("transformers", "csm"),
    "onnx": ("onnxruntime", "cpu"),
    "gemma": ("torch", "csm"),
    "hibari": ("hibari", "cpu"),
    "csm": ("transformers", "csm"),
}
"""What an engine cannot do without, and the extra that installs it."""


def check(profile: Profile) -> None:
    """Refuse a machine that lacks what the engines of `profile` need.

    Raises:
        EngineError: there is no GPU, or an engine is not installed.
    """
    if plan.needs_gpu(profile) and not _has_driver():
        raise EngineError(
            f"profile {profile.name!r} works on an NVIDIA GPU, and this machine has none, or no driver for it: run it "
            "where `nvidia-smi` lists one (docs/gpu.md), or take the profile cpu"
        )
    for section, settings in (("stt", profile.stt), ("llm", profile.llm), ("tts", profile.tts)):
        package, extra = _PACKAGES.get(settings.engine, ("", ""))
        if package and importlib.util.find_spec(package) is None:
            # One extra brings all that a profile for a GPU needs.
            wanted = "gpu" if plan.needs_gpu(profile) and profile.llm.engine == "vllm" else extra
            raise EngineError(
                f"{section}: engine {settings.engine} is not installed (no {package}); "
                f"run: pip install 'turngap[{wanted}]'"
            )
        if settings.engine == "vllm" and settings.url is None and shutil.which(settings.command[0]) is None:
            raise EngineError(
                f"{section}: {settings.command[0]} is not installed; run: pip install 'turngap[gpu]', or name another "
                "environment's in llm.command, or a running server in llm.url"
            )


def _has_driver() -> bool:
    """CUDA's own library comes with the driver, in containers too; NVML is left out of some of them."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
