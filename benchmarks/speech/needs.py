"""What the measurements of speech need beside Python, asked for before anything that imports it."""

from __future__ import annotations

import importlib.util
import sys


def missing() -> bool:
    """Whether torch or transformers is absent, which is then told on stderr with the remedy."""
    absent = next((name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None), None)
    if absent is not None:
        print(f"needs {absent}: pip install '.[csm]'", file=sys.stderr)
    return absent is not None
