"""Measures CSM on this machine, alone and beside a language model. Needs torch and transformers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

OVER_LIMIT = "LimitReachedError"
"""How the reason of a part begins that the time limit stopped: a result without it is not wrong, only shorter."""
ROOT = Path(__file__).resolve().parents[2]


def packages_missing() -> bool:
    """Return whether torch or transformers is missing, after printing what to install; call it before other imports."""
    missing = next((name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        print(f"{missing} is not installed; run: pip install '.[csm]'", file=sys.stderr)
    return missing is not None


def add_source_folders() -> None:
    """Make the project importable from its source tree, where it is not installed."""
    for folder in (ROOT, ROOT / "harness", ROOT / "pipeline"):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
