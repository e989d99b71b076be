"""The host's memory, as Linux tells it: what a program can still have, in the host or in a container with a limit."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap_agent import memory

MIB = 1 << 20
MEMINFO = "MemTotal:  8000000 kB\nMemAvailable:  2048000 kB\nHugePages_Total:       0\n"


@pytest.mark.parametrize(
    ("meminfo", "limit", "used", "expected"),
    [
        (MEMINFO, None, None, 2000.0),
        (MEMINFO, "max\n", f"{500 * MIB}\n", 2000.0),
        (MEMINFO, f"{1024 * MIB}\n", f"{500 * MIB}\n", 524.0),
        (MEMINFO, f"{9000 * MIB}\n", f"{500 * MIB}\n", 2000.0),
        (MEMINFO, f"{1024 * MIB}\n", None, 2000.0),
        (None, f"{1024 * MIB}\n", f"{500 * MIB}\n", 524.0),
        ("MemFree: 12 kB\n", None, None, None),
        ("MemAvailable: much\n", None, None, None),
        ("MemAvailable:\n", None, None, None),
        (None, None, None, None),
    ],
)
def test_the_least_of_what_is_known_counts(
    tmp_path: Path, meminfo: str | None, limit: str | None, used: str | None, expected: float | None
) -> None:
    """A container's limit where that is nearer; what cannot be read is not known, and no guess takes its place."""
    for name, text in (("meminfo", meminfo), ("memory.max", limit), ("memory.current", used)):
        if text is not None:
            (tmp_path / name).write_text(text, "ascii")
    assert memory.available_mib(tmp_path / "meminfo", tmp_path) == expected


def test_what_the_process_holds_grows_with_what_it_holds() -> None:
    """By what was written to."""
    before = memory.resident_mib()
    held = bytearray(b"\x01") * (64 * MIB)
    assert memory.resident_mib() - before == pytest.approx(64, abs=8)
    assert held[-1] == 1
