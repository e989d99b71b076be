"""Results of a measurement: percentiles, the machine, and the printed table."""

from __future__ import annotations

import math
import platform
from typing import Any

import numpy as np
import torch
from turngap_agent.device.execution import Mode


def summary(seconds: list[float]) -> dict[str, float]:
    """Return count, p50, p95 and maximum of times, in ms."""
    ordered = sorted(1e3 * value for value in seconds)
    nearest = ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)]
    return {"n": len(ordered), "p50": float(np.median(ordered)), "p95": nearest, "max": ordered[-1]}


def machine(device: torch.device) -> dict[str, Any]:
    """Return the machine and the versions that were measured."""
    import transformers

    cuda = device.type == "cuda" and torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name(device) if cuda else f"cpu {platform.machine()}",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }


def format_table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    lines = [f"{result['machine']['device']} · torch {result['machine']['torch']}"]
    if "bytes" in result:
        rate, floor = result["bandwidth"]["copy_gb_s"], result["bytes"]["floor_ms"]
        lines.append(f"copy {rate:,.0f} GB/s · floor by bytes {floor:.2f} ms a frame of 80 ms")
    if "codec" in result:
        lines.append(f"codec frame by frame: {result['codec']['signal_to_error_db']:.0f} dB against one offline decode")
    for mode in Mode:
        figures = result.get(str(mode))
        if not figures:
            continue
        frame, counts = figures["frame_ms"], figures["counts"]
        lines.append(f"{mode}: frame p50 {frame['p50']:.2f}, p95 {frame['p95']:.2f} ms (RTF {frame['p95'] / 80:.3f})")
        split = " ".join(f"{stage} {times['p50']:.2f}" for stage, times in figures["split_ms"].items())
        kind = "kernels" if "cuda" in result["options"]["device"] else "operations"
        lines.append(f"  split {split} ms · {counts['a_frame']} {kind}, {counts.get('host_syncs', '?')} host syncs")
        for positions, times in figures["first_audio_ms"].items():
            first_audio = ", ".join(f"{how} p50 {t['p50']:.1f} p95 {t['p95']:.1f}" for how, t in times.items())
            lines.append(f"  first audio at {positions} positions: {first_audio} ms")
        lines.append(f"  memory {figures['memory_mib']} MiB · prepared in {figures['prepared_s']:.0f} s")
    if "transformers" in result:
        reference = result["transformers"]
        lines.append(
            f"transformers generate: {reference['frame_ms']:.1f} ms a frame, "
            f"{reference['operations_a_frame']} operations, "
            f"{reference['host_syncs_a_frame']} host syncs; 2 s of audio, all at once, after "
            f"{reference['two_seconds_of_audio_ms']:.0f} ms"
        )
    if "a_us_a_kernel" in result.get("fit", {}):
        fit = result["fit"]
        lines.append(f"fit: {fit['a_us_a_kernel']:.2f} µs for each of the {fit['counted']} + bytes/bandwidth")
    if "verdict" in result:
        verdict = result["verdict"]
        lines.append(f"frames of 8 with the codes of eager: {verdict['frames_of_8_as_eager']}")
        for goal, limit in result["goals"].items():
            lines.append(f"{verdict['mode']}: {goal} {verdict[goal]:.1f} (goal {limit:g})")
    lines += [f"FAILED {name}: {why}" for name, why in result["failed"].items()]
    return "\n".join(lines)
