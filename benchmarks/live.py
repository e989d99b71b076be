"""Does `turngap smoke` find the delays that the fake Twilio was given, and does its recording agree?

    python -m benchmarks.live [--turns 20] [--json]        about 4 minutes for 20 turns

Each row is one run of the command itself, `turngap smoke --fake`: the caller's process, the fake's, and a WebSocket for
each leg between them. Injected are 60 ms uplink, 90 ms downlink and an agent of 300 ms, without and with jitter, which
is added to the delay; then an agent hosted elsewhere, measured from the caller's leg alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from turngap.processes import child

from benchmarks.common import Promise, conclude, news, parser

INJECTED = {"uplink_ms": 60.0, "server_gap_ms": 300.0, "downlink_ms": 90.0, "total_ms": 450.0}
CLEAN_MS, JITTERED_MS, WITNESS_MS = 5.0, 10.0, 20.0
JITTER_MS = 20.0
SOMEBODY_ELSES = "+15005550099"


def smoke(turns: int, *arguments: str) -> dict[str, Any]:
    """What one run prints as JSON; {} where it did not come to figures."""
    given = ("--uplink-ms", "60", "--downlink-ms", "90", "--agent-ms", "300", "--turns", str(turns))
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            child.python("turngap", "smoke", "--fake", *given, *arguments, "--record", "--json", "--out", folder),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
        )  # fmt: skip
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {}
    return found


def promises(name: str, found: Mapping[str, Any], tolerance_ms: float, *, legs: bool = True) -> list[Promise]:
    """What must hold of one run."""
    wanted = INJECTED if legs else {"total_ms": INJECTED["total_ms"]}
    rows = [_near(f"{name}: {key}", found.get(key), value, tolerance_ms) for key, value in wanted.items()]
    witness = found.get("witness") or {}
    rows.append(
        _near(f"{name}: the recording beside the live figure", witness.get("median_difference_ms"), 0.0, WITNESS_MS)
    )
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = parser(__doc__)
    given.add_argument("--turns", type=int, default=20, help="turns a run")
    options = given.parse_args(arguments)
    rows: list[Promise] = []
    details: dict[str, Any] = {}
    for name, extra, tolerance_ms, legs in (
        ("clean", ("--echo",), CLEAN_MS, True),
        (f"jitter {JITTER_MS:g} ms", ("--jitter-ms", f"{JITTER_MS:g}"), JITTERED_MS, True),
        ("the caller's leg alone", ("--to", SOMEBODY_ELSES), CLEAN_MS, False),
    ):
        news(f"smoke call, {name}")
        details[name] = smoke(options.turns, "--calls", "2", *extra)
        rows += promises(name, details[name], tolerance_ms, legs=legs)
    return conclude("The live smoke call against the fake Twilio", rows, details, as_json=options.json)


def _near(name: str, value: float | None, wanted: float, tolerance_ms: float) -> Promise:
    text = f"{name} is {wanted:g} ± {tolerance_ms:g} ms"
    if value is None:
        return Promise(text, "not measured", None, holds=False)
    return Promise(text, f"{value:.2f} ms", value, holds=abs(value - wanted) <= tolerance_ms)


if __name__ == "__main__":
    sys.exit(main())
