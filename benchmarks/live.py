"""Measures whether `turngap smoke` finds the delays of the fake Twilio, and whether the recording agrees.

    python -m benchmarks.live [--turns 20] [--json]        about 5 minutes for 20 turns

Each part is one run of the command `turngap smoke --fake`: the caller's process, the fake's, and a WebSocket for each
leg. The delays are 60 ms uplink, 90 ms downlink and an agent of 300 ms, without and with jitter, which is added to the
delay; then an agent hosted elsewhere, measured on the caller's leg only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from turngap.processes import child

from benchmarks.promises import Promise, make_parser, print_progress, print_result

INJECTED = {"uplink_ms": 60.0, "server_gap_ms": 300.0, "downlink_ms": 90.0, "total_ms": 450.0}
CLEAN_MS, JITTERED_MS, RECORDING_MS = 5.0, 10.0, 20.0
JITTER_MS = 20.0
OTHER_NUMBER = "+15005550099"


def smoke(turns: int, *arguments: str) -> dict[str, Any]:
    """Return the JSON that one run prints; {} if it printed none."""
    delays = ("--uplink-ms", "60", "--downlink-ms", "90", "--agent-ms", "300", "--turns", str(turns))
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.run(
            child.python_command(
                "turngap", "smoke", "--fake", *delays, *arguments, "--record", "--json", "--out", folder,
            ),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
        )  # fmt: skip
    try:
        result: dict[str, Any] = json.loads(process.stdout)
    except ValueError:
        return {}
    return result


def promises(name: str, result: Mapping[str, Any], tolerance_ms: float, *, legs: bool = True) -> list[Promise]:
    """Return the promises of one run; `legs`: with each leg's time, not only the total."""
    expected = INJECTED if legs else {"total_ms": INJECTED["total_ms"]}
    rows = [_promise_near(f"{name}: {key}", result.get(key), value, tolerance_ms) for key, value in expected.items()]
    check = result.get("witness") or {}
    rows.append(_promise_near(f"{name}: recording minus live", check.get("median_difference_ms"), 0.0, RECORDING_MS))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 1 if a promise does not hold."""
    parser = make_parser(__doc__)
    parser.add_argument("--turns", type=int, default=20, help="turns per run")
    options = parser.parse_args(arguments)
    rows: list[Promise] = []
    details: dict[str, Any] = {}
    for name, extra, tolerance_ms, legs in (
        ("clean", ("--echo",), CLEAN_MS, True),
        (f"jitter {JITTER_MS:g} ms", ("--jitter-ms", f"{JITTER_MS:g}"), JITTERED_MS, True),
        ("the caller's leg only", ("--to", OTHER_NUMBER), CLEAN_MS, False),
    ):
        print_progress(f"smoke call, {name}")
        details[name] = smoke(options.turns, "--calls", "2", *extra)
        rows += promises(name, details[name], tolerance_ms, legs=legs)
    return print_result("The live smoke call against the fake Twilio", rows, details, as_json=options.json)


def _promise_near(name: str, value: float | None, expected: float, tolerance_ms: float) -> Promise:
    text = f"{name} is {expected:g} ± {tolerance_ms:g} ms"
    if value is None:
        return Promise(text, "not measured", None, holds=False)
    return Promise(text, f"{value:.2f} ms", value, holds=abs(value - expected) <= tolerance_ms)


if __name__ == "__main__":
    sys.exit(main())
