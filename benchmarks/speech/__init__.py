"""Measures CSM on this machine, alone and beside a language model. Needs torch and transformers."""

from __future__ import annotations

import importlib.util
import sys


def packages_missing() -> bool:
    """Return whether torch or transformers is missing, after printing what to install; call it before other imports."""
    missing = next((name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        print(f"{missing} is not installed; run: pip install '.[csm]'", file=sys.stderr)
    return missing is not None
