"""The device that settings name, if it is there."""

from __future__ import annotations

import torch

from turngap_agent.errors import EngineError
from turngap_agent.gpu.driver import Driver, why_unreachable


def device(name: str, engine: str, section: str) -> torch.device:
    """torch's device of that name, for an engine and its section of the profile.

    Raises:
        EngineError: there is no such device.
    """
    try:
        found = torch.device(name)
    except RuntimeError:
        raise EngineError(f"{engine}: no device is called {name!r}; {section}.device is cuda or cpu") from None
    if found.type != "cuda":
        return found
    if not torch.cuda.is_available():
        why = why_unreachable(torch.version.cuda, Driver.read())
        raise EngineError(
            f"{engine}: {section}.device is {name}, but torch sees no NVIDIA GPU: {why}; or set {section}.device: cpu "
            "(far slower than real time)"
        )
    return found


def open_context(name: str, engine: str, section: str) -> None:
    """Start CUDA on that device, so that what its context takes is no engine's.

    Raises:
        EngineError: there is no such device.
    """
    torch.zeros(1, device=device(name, engine, section))
