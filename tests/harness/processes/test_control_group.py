"""Control groups, read from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.processes.control_group import ControlGroup, read_control_group


def test_version_2_takes_the_tightest_of_the_groups_around(tmp_path: Path) -> None:
    """The service allows four cores, the slice around it two; the memory limit is the service's."""
    group = "sys/fs/cgroup/agents.slice"
    for path, text in {
        "proc/self/cgroup": "0::/agents.slice/turngap.service\n",
        f"{group}/cpu.max": "200000 100000\n",
        f"{group}/memory.max": "max\n",
        f"{group}/turngap.service/cpu.max": "400000 100000\n",
        f"{group}/turngap.service/memory.max": "4294967296\n",
        f"{group}/turngap.service/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 3\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert read_control_group(tmp_path) == ControlGroup(cores=2.0, memory_bytes=1 << 32, throttled_periods=3)


def test_inside_a_container_the_mount_is_the_group(tmp_path: Path) -> None:
    """The path of the host's group does not exist inside."""
    for path, text in {
        "proc/self/cgroup": "0::/../../docker/abc\n",
        "sys/fs/cgroup/cpu.max": "150000 100000",
        "sys/fs/cgroup/memory.max": "1073741824",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert read_control_group(tmp_path) == ControlGroup(1.5, 1 << 30)


def test_version_1(tmp_path: Path) -> None:
    """A quota in its own files; -1 and a huge number mean no limit."""
    for path, text in {
        "proc/self/cgroup": "4:memory:/box\n3:cpu,cpuacct:/box\n1:name=systemd:/box\n",
        "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "50000",
        "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "9223372036854771712",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert read_control_group(tmp_path) == ControlGroup(cores=0.5)


@pytest.mark.parametrize("text", [None, "0::/\n", "garbage\n", "1:a\n"])
def test_no_limits_and_no_files(tmp_path: Path, text: str | None) -> None:
    """A system without control groups, or with lines that nobody understands, has no limits."""
    if text is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(text)
    assert read_control_group(tmp_path) == ControlGroup()
