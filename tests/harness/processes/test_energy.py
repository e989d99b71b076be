"""Energy of a run: sums of steps, shares of calls and turns, and what is said where nothing is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.processes import energy
from turngap.processes.health_log import HealthSamples
from turngap.processes.proc_counters import PACKAGE


def summarise(gpu_j: tuple[float, float] | None, samples: HealthSamples, **changes: object) -> object:
    fields: dict[str, object] = {
        "since_s": 0.0,
        "calls": 4,
        "answered_turns": 5,
        "call_s": 30.0,
        "not_readable": {energy.GPU: "why"},
    } | changes
    return energy.summarise_energy(samples, gpu_j, **fields)  # type: ignore[arg-type]


def test_energy_is_shared_out_over_calls_turns_and_minutes() -> None:
    """3,000 J in 60 s, 4 calls of 30 s in all, 5 answered turns."""
    figures = summarise((3000.0, 60.0), HealthSamples([]))
    assert figures is not None
    part = figures.gpu  # type: ignore[attr-defined]
    assert (part.watts, part.call_j, part.answered_turn_j, part.call_minute_j) == (50.0, 750.0, 600.0, 6000.0)
    assert figures.package is None  # type: ignore[attr-defined]
    assert PACKAGE in figures.not_readable  # type: ignore[attr-defined]
    assert energy.GPU not in figures.not_readable  # type: ignore[attr-defined]


def test_without_an_answer_there_is_no_energy_a_turn() -> None:
    """None, not infinity; without calls there is nothing at all."""
    figures = summarise((3000.0, 60.0), HealthSamples([]), answered_turns=0)
    assert figures.gpu.answered_turn_j is None  # type: ignore[attr-defined]
    assert summarise((3000.0, 60.0), HealthSamples([]), calls=0) is None


def test_the_processors_energy_is_that_since_the_agent_was_ready() -> None:
    """Loading its models is not part of a call."""
    samples = HealthSamples([{"at_s": at / 2, "package_j": 10.0 * at} for at in range(9)])
    figures = summarise(None, samples, since_s=2.0)
    assert figures.package.joules == 40.0  # type: ignore[attr-defined]
    assert figures.package.watts == 20.0  # type: ignore[attr-defined]
    assert figures.not_readable == {energy.GPU: "why"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("cell", ["", "n/a"])
def test_a_gpu_without_a_counter_has_no_energy(tmp_path: Path, cell: str) -> None:
    """Its cells are empty; other GPUs' rows and those before the agent was ready do not count."""
    file = tmp_path / "gpu.csv"
    rows = ["1.0,0,100.0", "1.1,0,105.0", "1.2,0,110.0", "1.15,1,900.0", f"1.1,2,{cell}", f"1.2,2,{cell}"]
    file.write_text("at_s,gpu,energy_j\n" + "\n".join(rows) + "\n")
    assert energy.read_gpu_energy(file, 0, 1.1) == (pytest.approx(5.0), pytest.approx(0.1))
    assert energy.read_gpu_energy(file, 2, 0.0) is None
    assert energy.read_gpu_energy(tmp_path / "none.csv", 0, 0.0) is None
