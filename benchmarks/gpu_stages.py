"""Measures the stages of a profile one by one, each in a process of its own, as `turngap stage` does.

    python -m benchmarks.gpu_stages PROFILE SECONDS STAGE,STAGE... [section.key=value]...

Prints one JSON object after each stage: by stage its document, or why there is none; the last one has all. A stage that
would begin after SECONDS is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

UNITS = 20
SHARE = 0.6
"""Of the time, what the first stage may take: its weights are loaded, compiled from the cache, measured and counted."""


def measure_stage(stage: str, profile: str, overrides: tuple[str, ...], within_s: float) -> dict[str, Any]:
    """Return the document of one stage, or {"error": why}."""
    command = [sys.executable, "-m", "turngap", "stage", stage, "--profile", profile, "--json"]
    command += ["--busy", "--repeats", str(UNITS)]
    command += [part for override in overrides for part in ("--set", override)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"it took longer than {within_s:.0f} s"}
    try:
        document: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        return {"error": f"exit code {done.returncode}: {lines[-1]}"}
    return document


def main(arguments: list[str]) -> int:
    """Measure; return 0 if a stage was measured, else 1."""
    profile, limit_s, stages, overrides = arguments[0], float(arguments[1]), arguments[2], tuple(arguments[3:])
    began = time.monotonic()
    results: dict[str, Any] = {}
    for stage in stages.split(","):
        left_s = limit_s - (time.monotonic() - began)
        if left_s <= 0:
            results[stage] = {"error": "no time was left"}
        else:
            results[stage] = measure_stage(stage, profile, overrides, left_s if results else SHARE * left_s)
        print(json.dumps(results), flush=True)
    return 0 if any("error" not in result for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
