"""Loads a profile's engines once and closes them, so that what they compile is cached before anything is timed.

    python -m benchmarks.gpu_prepare PROFILE [section.key=value]...

Prints one JSON object: `load_s`, the engines' own descriptions, and the memory that each holds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from turngap_agent import loading, profile
from turngap_agent.errors import TurngapError


async def prepare(name: str, overrides: tuple[str, ...]) -> dict[str, object]:
    """Load, warm up and close the engines of a profile.

    Raises:
        TurngapError: see `loading.load`.
    """
    began = time.monotonic()
    engines = await loading.load(profile.load(name, overrides))
    load_s = time.monotonic() - began
    await engines.close()
    return {"load_s": round(load_s, 1), "models": engines.models, "memory_mib": engines.memory_mib}


def main(arguments: list[str]) -> int:
    """Prepare; return 0, or 2 with one line if the engines can't be loaded."""
    try:
        print(json.dumps(asyncio.run(prepare(arguments[0], tuple(arguments[1:])))))
    except TurngapError as error:
        print(f"gpu_prepare: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
