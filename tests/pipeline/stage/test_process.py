"""What the process has used: what the system hides is None with a reason, and never 0."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from turngap_agent.device.rates import read_last_cache
from turngap_agent.stage.process import Usage, describe_switches, read_peak_mib


def test_switches_that_are_hidden_are_not_called_none() -> None:
    """Two zeros after work on several threads cannot be."""
    usage = replace(Usage.read(), voluntary=0, involuntary=0)
    switches, why = describe_switches(usage, usage)
    assert switches is None
    assert "hides them" in why
    later = replace(usage, voluntary=12, involuntary=3)
    assert describe_switches(replace(usage, voluntary=2), later) == ({"voluntary": 10, "involuntary": 3}, "")


def test_the_peak_is_read_from_the_system_or_from_the_process(tmp_path: Path) -> None:
    """Where /proc does not show it, getrusage does."""
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  204800 kB\n")
    assert read_peak_mib(status) == (200, "")
    peak, why = read_peak_mib(tmp_path / "missing")
    assert peak is not None
    assert (peak > 1, why) == (True, "")


def test_the_last_cache_is_the_highest_level_that_the_kernel_shows(tmp_path: Path) -> None:
    """None where it shows none, as in some containers."""
    assert read_last_cache(tmp_path) is None
    for level, size in ((1, "32K"), (2, "1024K"), (3, "32M")):
        folder = tmp_path / f"index{level}"
        folder.mkdir()
        (folder / "level").write_text(f"{level}\n")
        (folder / "size").write_text(f"{size}\n")
    assert read_last_cache(tmp_path) == 32 << 20
