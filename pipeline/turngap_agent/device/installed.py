"""Whether the extra `csm` is installed; light to import, unlike all that stands beside it."""

from __future__ import annotations

import importlib

from turngap_agent.errors import EngineError


def require(engine: str, *packages: str) -> None:
    """Make sure that `packages` are there, before a module is imported that needs them.

    Raises:
        EngineError: one is not; the message names the remedy.
    """
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as fault:
            raise EngineError(
                f"{engine}: {fault.name or package} is not installed; run: pip install 'turngap[csm]'"
            ) from None
