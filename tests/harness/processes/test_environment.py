"""Where a run was made, in plain JSON values."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from turngap.clock import FakeClock
from turngap.processes import environment


def test_the_environment_is_plain_json() -> None:
    """It can be written to run.json as it is, and names the interpreter and what is installed."""
    machine = environment.describe_machine()
    assert json.loads(json.dumps(machine)) == machine
    assert machine["packages"]["numpy"]
    assert machine["cores"] >= 1
    assert len(machine["load_before"]) == 3


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: Example CPU @ 2 GHz\nflags\t: x\n", "Example CPU @ 2 GHz"),
        ("processor\t: 0\nHardware\t: Example Board\n", "Example Board"),
    ],
)
def test_the_processors_name_is_the_kernels(tmp_path: Path, text: str, name: str) -> None:
    """On both kinds of cpuinfo."""
    (tmp_path / "cpuinfo").write_text(text)
    assert environment.read_cpu_model(tmp_path / "cpuinfo") == name


def test_a_kernel_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    """Without cpuinfo there is still some name."""
    assert environment.read_cpu_model(tmp_path / "absent")


def test_a_package_that_is_not_installed_has_no_version() -> None:
    """None, and it is left out of the environment."""
    assert environment.installed_version("no-such-distribution-at-all") is None


def test_timer_lateness_is_zero_on_a_punctual_clock() -> None:
    """A clock that jumps to its deadlines is never late."""
    assert asyncio.run(environment.measure_timer_late_p99_ms(FakeClock())) == 0.0
