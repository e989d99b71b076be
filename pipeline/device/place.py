"""The device that settings name, if it is there."""

from __future__ import annotations

import torch

from pipeline.errors import EngineError


def device(name: str, engine: str, section: str) -> torch.device:
    """torch's device of that name, for an engine and its section of the profile.

    Raises:
        EngineError: there is no such device.
    """
    try:
        found = torch.device(name)
    except RuntimeError:
        raise EngineError(f"{engine}: no device is called {name!r}; {section}.device is cuda, cuda:N or cpu") from None
    if found.type != "cuda":
        return found
    if not torch.cuda.is_available():
        raise EngineError(
            f"{engine}: {section}.device is {name}, but torch sees no NVIDIA GPU; check nvidia-smi and that torch is a "
            f"CUDA build, or set {section}.device: cpu (far slower than real time)"
        )
    if (found.index or 0) >= torch.cuda.device_count():
        raise EngineError(f"{engine}: there is no {name}; torch sees {torch.cuda.device_count()} GPU(s)")
    return found
