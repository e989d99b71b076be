"""`gpu.csv`: formats the sampler's rows, and evaluates them: memory peaks, foreign processes, throttling."""

from __future__ import annotations

import csv
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from turngap.clock import NS_PER_MS
from turngap.model.agent_figures import GpuFigures, GpuWatch
from turngap.model.turn import TurnRecord
from turngap.processes.gpu import THROTTLING, Gpu, GpuSample

BEFORE_MS = 500
"""A turn's window starts so long before the end of the caller's speech, as for the instrument's lateness."""
UNANSWERED_MS = 2000
"""... and ends with the answer; without one, so long after the end of speech."""
POWER_CAP = "sw_power_cap"
"""The card at its own power limit: so it is under full load in production too."""

COLUMNS = tuple(field.name for field in fields(GpuSample))
"""The columns of `gpu.csv`; rows of older runs lack the last ones."""


def format_gpu_row(sample: GpuSample) -> list[str]:
    """Return a line of `gpu.csv`; an unknown value is an empty cell."""
    return [
        "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
        for value in asdict(sample).values()
    ]


def summarise_gpus(
    devices: Iterable[Gpu],
    file: Path,
    uuid: str | None = None,
    *,
    since_s: float = 0.0,
    earlier: Iterable[GpuFigures] = (),
) -> tuple[GpuFigures, ...] | None:
    """Return the memory peaks in `gpu.csv` of the GPUs seen before the agent started; None without a GPU.

    If one of them has that `uuid` (the agent's GPU), it is the only one returned. Rows before `since_s`, when the agent
    was ready, do not count: engines use more while they load than they hold. `earlier` are the figures of the sessions
    that this one resumes.
    """
    peaks = _peaks_mib(file, since_s, earlier)
    gpus = tuple(
        GpuFigures(
            name=device.name,
            total_mib=device.total_mib,
            used_peak_mib=max(device.used_mib, peaks.get(device.gpu, 0.0)),
            used_before_mib=device.used_mib,
            number=device.gpu,
        )
        for device in _select_devices(devices, uuid)
    )
    return gpus or None


def peak_mib(
    devices: Iterable[Gpu], file: Path, uuid: str, *, since_s: float = 0.0, earlier: Iterable[GpuFigures] = ()
) -> float | None:
    """Return the peak memory use, MiB, of the GPU with that `uuid`, counted as `summarise_gpus` counts it.

    None if it is not in `devices` or `gpu.csv`.
    """
    number = next((device.gpu for device in devices if device.uuid == uuid), None)
    return None if number is None else _peaks_mib(file, since_s, earlier).get(number)


def watch_turns(
    file: Path, turns: Iterable[TurnRecord], devices: Sequence[Gpu], uuid: str, *, sees_all: bool
) -> GpuWatch | None:
    """Return foreign processes and throttling of the agent's GPU in the windows of the scored turns.

    None where the GPU was not sampled. `sees_all`: NVML lists the processes of the whole machine, not of a container.
    """
    device = next((gpu for gpu in devices if gpu.uuid == uuid), None)
    if device is None:
        return None
    rows = sorted(
        (
            (float(line["at_s"] or 0), line)
            for line in _read_lines(file)
            if line.get("gpu") == str(device.gpu) and re.fullmatch(r"\d+\.\d+", line.get("at_s") or "")
        ),
        key=lambda item: item[0],
    )
    times = [at_s for at_s, _ in rows]
    watched = known = foreign = capped = 0
    throttled: Counter[str] = Counter()
    names: dict[str, None] = {}
    scored = [turn for turn in turns if turn.scored]
    for turn in scored:
        begin_ns = turn.t0_ns - BEFORE_MS * NS_PER_MS
        end_ns = turn.t1_ns if turn.t1_ns is not None else turn.t0_ns + UNANSWERED_MS * NS_PER_MS
        near = rows[bisect_left(times, begin_ns / 1e9) : bisect_right(times, end_ns / 1e9)]
        inside = [line for _, line in near if (line.get("boot_id") or turn.boot_id) == turn.boot_id]
        watched += bool(inside)
        counts = [line.get("foreign_processes") or "" for line in inside]
        known += bool(inside) and all(counts)
        foreign += any(count.isdigit() and int(count) > 0 for count in counts)
        names |= dict.fromkeys(who for line in inside for who in (line.get("foreign") or "").split("+") if who)
        reasons = {reason for line in inside for reason in (line.get("throttle") or "").split("+")}
        throttled.update(reasons & THROTTLING)
        capped += POWER_CAP in reasons
    before = None if device.reserved_mib is None else max(0.0, device.used_mib - device.reserved_mib)
    return GpuWatch(
        turns=len(scored),
        watched_turns=watched,
        known_turns=known,
        foreign_turns=foreign,
        foreign=tuple(names),
        held_back=dict(sorted(throttled.items())),
        power_capped_turns=capped,
        before_mib=before,
        sees_all=sees_all,
    )


def _select_devices(devices: Iterable[Gpu], uuid: str | None) -> tuple[Gpu, ...]:
    """Return the GPU with that UUID, or all if none has it."""
    devices = tuple(devices)
    return tuple(device for device in devices if uuid and device.uuid == uuid) or devices


def _peaks_mib(file: Path, since_s: float, earlier: Iterable[GpuFigures]) -> dict[int, float]:
    """Return the peak memory use by GPU: in the rows of `gpu.csv` from `since_s` on, and in the `earlier` figures."""
    peaks = {figures.number: figures.used_peak_mib for figures in earlier if figures.number is not None}
    for line in _read_lines(file):
        gpu, used, at_s = (line.get(column) or "" for column in ("gpu", "used_mib", "at_s"))
        if gpu.isdigit() and all(re.fullmatch(r"\d+\.\d+", text) for text in (used, at_s)) and float(at_s) >= since_s:
            peaks[int(gpu)] = max(peaks.get(int(gpu), 0.0), float(used))
    return peaks


def _read_lines(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
