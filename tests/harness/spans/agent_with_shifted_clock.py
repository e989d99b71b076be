"""Our agent as if on another host: `TURNGAP_TEST_SHIFT_NS` is added to its monotonic clock, and its boot is another.

Run as a script with the arguments of `python -m turngap_agent`.
"""

from __future__ import annotations

import os
import time

from turngap_agent import clock, tracing

SHIFT_NS = int(os.environ["TURNGAP_TEST_SHIFT_NS"])


def now_ns() -> int:
    """Return what the other host's clock shows."""
    return time.perf_counter_ns() + SHIFT_NS


def main() -> None:
    """Change the clock before any module has taken a reference to it, then serve."""
    clock.now_ns = now_ns
    clock.ANCHOR_UNIX_NS -= SHIFT_NS
    tracing.read_boot_id = lambda: "another-host"
    from turngap_agent.__main__ import app

    app()


if __name__ == "__main__":
    main()
