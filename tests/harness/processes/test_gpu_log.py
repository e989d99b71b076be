"""The agent's GPU beside the turns: only samples inside a turn's window count."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from turngap.model.agent_figures import GpuWatch
from turngap.processes import gpu_log
from turngap.processes.gpu import Gpu, GpuSample

from tests.harness import report_builders as make

SECOND = 1_000_000_000
CARD = Gpu(0, "NVIDIA A100", 81_920.0, 900.0, "GPU-a", 512.0)


def sample(at_s: float, **changes: Any) -> GpuSample:
    values: dict[str, Any] = dict.fromkeys(gpu_log.COLUMNS) | {"gpu": 0, "throttle": "", "foreign_processes": 0}
    return GpuSample(**values | {"at_s": at_s, "foreign": "", "boot_id": ""} | changes)


def watch_turns(folder: Path, *samples: GpuSample, device: Gpu = CARD, uuid: str = "GPU-a") -> GpuWatch | None:
    """Two turns: from 9.5 to 11 s, and one without an answer, from 19.5 to 22 s."""
    file = folder / "gpu.csv"
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([gpu_log.COLUMNS, *map(gpu_log.format_gpu_row, samples)])
    turns = [
        make.turn(0, t0_ns=10 * SECOND, t1_ns=11 * SECOND),
        make.turn(1, t0_ns=20 * SECOND, t1_ns=None),
        make.turn(2, t0_ns=30 * SECOND, t1_ns=31 * SECOND, scored=False),
    ]
    return gpu_log.watch_turns(file, turns, [device], uuid, sees_all=True)


def test_what_is_outside_the_windows_does_not_count(tmp_path: Path) -> None:
    """Between turns, and in turns that are not scored, the GPU may be anybody's and as hot as it likes."""
    bad = {"foreign_processes": 1, "foreign": "7 python", "throttle": "hw_thermal+sw_power_cap"}
    watch = watch_turns(
        tmp_path, sample(9.4, **bad), sample(10.5), sample(11.1, **bad), sample(21.9), sample(30.5, **bad)
    )
    assert watch == GpuWatch(turns=2, watched_turns=2, known_turns=2, foreign_turns=0, before_mib=388.0, sees_all=True)


def test_another_boots_samples_are_of_other_turns(tmp_path: Path) -> None:
    """After a reboot the clock begins anew: the same time on it is another time. Older rows do not tell their boot."""
    watch = watch_turns(tmp_path, sample(10.5, foreign_processes=1, foreign="7 python", boot_id="before"), sample(10.6))
    assert watch is not None
    assert (watch.watched_turns, watch.foreign_turns) == (1, 0)


def test_foreign_processes_and_throttling_are_counted_by_turn(tmp_path: Path) -> None:
    """However many samples of a turn show it; settings of the clocks are no throttling."""
    foreign = {"foreign_processes": 1, "foreign": "7 python+9 Xorg"}
    watch = watch_turns(
        tmp_path,
        sample(9.6, **foreign),
        sample(10.9, **foreign, throttle="applications_clocks"),
        sample(20.0, throttle="sw_power_cap+hw_slowdown+hw_thermal"),
    )
    assert watch is not None
    assert (watch.foreign_turns, watch.foreign) == (1, ("7 python", "9 Xorg"))
    assert (watch.held_back, watch.power_capped_turns) == ({"hw_slowdown": 1, "hw_thermal": 1}, 1)


def test_one_sample_without_a_list_leaves_the_turn_unknown(tmp_path: Path) -> None:
    """And a turn without samples is not watched."""
    watch = watch_turns(tmp_path, sample(10.0), sample(10.1, foreign_processes=None))
    assert watch is not None
    assert (watch.watched_turns, watch.known_turns, watch.foreign_turns) == (1, 0, 0)


def test_the_drivers_own_part_may_be_unknown(tmp_path: Path) -> None:
    """Then what was in use before is too."""
    watch = watch_turns(tmp_path, sample(10.0), device=Gpu(0, "old", 1000.0, 900.0, "GPU-a"))
    assert watch is not None
    assert watch.before_mib is None


def test_the_peak_is_that_of_the_agents_gpu(tmp_path: Path) -> None:
    """Another card's memory is another's; a GPU that is not among them has no peak."""
    watch_turns(
        tmp_path, sample(10.0, used_mib=900.0), sample(10.0, gpu=1, used_mib=70_000.0), sample(11.0, used_mib=950.0)
    )
    devices = [CARD, Gpu(1, "NVIDIA A100", 81_920.0, 900.0, "GPU-b", 512.0)]
    peaks = [gpu_log.peak_mib(devices, tmp_path / "gpu.csv", uuid) for uuid in ("GPU-a", "GPU-b", "GPU-c", "")]
    assert peaks == [950.0, 70_000.0, None, None]


def test_what_loading_took_is_no_peak(tmp_path: Path) -> None:
    """Only rows from the ready line on count, beside the peaks of the sessions that a resumed run had before."""
    watch_turns(tmp_path, sample(10.0, used_mib=70_000.0), sample(12.0, used_mib=60_000.0))
    file, devices = tmp_path / "gpu.csv", [CARD]
    assert gpu_log.peak_mib(devices, file, "GPU-a", since_s=11.0) == 60_000.0
    assert gpu_log.peak_mib(devices, file, "GPU-a", since_s=13.0) is None
    figures = gpu_log.summarise_gpus(devices, file, "GPU-a", since_s=11.0)
    assert figures is not None
    assert figures[0].used_peak_mib == 60_000.0
    earlier = [figures[0].model_copy(update={"used_peak_mib": 65_000.0})]
    assert gpu_log.peak_mib(devices, file, "GPU-a", since_s=11.0, earlier=earlier) == 65_000.0
    assert gpu_log.peak_mib(devices, file, "GPU-a", since_s=10.0, earlier=earlier) == 70_000.0


def test_a_gpu_of_another_machine_is_not_watched(tmp_path: Path) -> None:
    """None: there is nothing to report."""
    assert watch_turns(tmp_path, sample(10.0), uuid="GPU-b") is None
