"""Results of a measurement: percentiles, the machine, and the printed table."""

from __future__ import annotations

import math
import platform
from typing import Any

import numpy as np
import torch
from turngap_agent.device.execution import Mode

_TURN_KINDS = ("prepared", "late", "preparation")
"""First audio with the context computed after the last turn, without, and the time that this takes then."""


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


def signal_to_error_db(reference: torch.Tensor, output: torch.Tensor) -> float | None:
    """Return the ratio of `reference` to its difference from `output`, in dB; None if they are equal.

    Raises:
        ValueError: a sample is no number.
    """
    reference, error = reference.double(), reference.double() - output.double()
    if not bool(torch.isfinite(error).all()):
        raise ValueError("a sample is not finite")
    if not bool(error.any()):
        return None
    return float(10 * torch.log10((reference**2).sum() / (error**2).sum()))


def format_table(result: dict[str, Any]) -> str:
    """Return the result as text; whatever part is missing is left out."""
    lines = [f"{result['machine']['device']} · torch {result['machine']['torch']}"]
    if "bytes" in result:
        rate, floor = result["bandwidth"]["copy_gb_s"], result["bytes"]["floor_ms"]
        lines.append(f"copy {rate:,.0f} GB/s · floor by bytes {floor:.2f} ms a frame of 80 ms")
    if "codec" in result:
        lines.append(f"codec frame by frame: {_db(result['codec'])} against one offline decode")
    for mode in Mode:
        if str(mode) in result:
            lines += _mode_lines(str(mode), result[str(mode)], cuda="cuda" in result["options"]["device"])
    if "transformers" in result:
        reference = result["transformers"]
        lines.append(
            f"transformers generate: {reference['frame_ms']:.1f} ms a frame, "
            f"{reference['operations_a_frame']} operations, "
            f"{reference['host_reads_a_frame']} host reads; 2 s of audio, all at once, after "
            f"{reference['two_seconds_of_audio_ms']:.0f} ms"
        )
    if "a_us_a_kernel" in result.get("fit", {}):
        fit = result["fit"]
        lines.append(f"fit: {fit['a_us_a_kernel']:.2f} µs for each of the {fit['counted']} + bytes/bandwidth")
    if "verdict" in result:
        verdict = result["verdict"]
        lines.append(f"frames of 8 with the codes of eager: {verdict['frames_of_8_as_eager']}")
        if verdict["codec_differs"]:
            lines.append(f"THE CODEC'S SAMPLES DIFFER from the eager ones: {', '.join(verdict['codec_differs'])}")
        for goal, limit in result["goals"].items():
            measured = "not measured" if verdict[goal] is None else f"{verdict[goal]:.1f}"
            lines.append(f"{verdict['mode']}: {goal} {measured} (goal {limit:g})")
    lines += [f"FAILED {name}: {why}" for name, why in result["failed"].items()]
    return "\n".join(lines)


def _mode_lines(mode: str, figures: dict[str, Any], *, cuda: bool) -> list[str]:
    lines = []
    if "frame_ms" in figures:
        frame = figures["frame_ms"]
        lines.append(f"{mode}: frame p50 {frame['p50']:.2f}, p95 {frame['p95']:.2f} ms (RTF {frame['p95'] / 80:.3f})")
    if "split_ms" in figures:
        split = " ".join(f"{stage} {times['p50']:.2f}" for stage, times in figures["split_ms"].items())
        lines.append(f"  {mode}: split {split} ms")
    if "counts" in figures:
        counts = figures["counts"]
        kind, stop = ("kernels", "host_waits_a_frame") if cuda else ("operations", "host_reads_a_frame")
        stops = f", {counts[stop]:g} {stop.replace('_', ' ')}" if stop in counts else ""
        lines.append(f"  {mode}: {counts['a_frame']} {kind}{stops}")
    for positions, times in figures.get("first_audio_ms", {}).items():
        first_audio = ", ".join(f"{how} p50 {t['p50']:.1f} p95 {t['p95']:.1f}" for how, t in times.items())
        lines.append(f"  {mode}: first audio at {positions} positions: {first_audio} ms")
    if "turn_first_audio_ms" in figures:
        turn = figures["turn_first_audio_ms"]
        kinds = ", ".join(f"{kind} p50 {turn[kind]['p50']:.1f} p95 {turn[kind]['p95']:.1f}" for kind in _TURN_KINDS)
        lines.append(f"  {mode}: first audio of a call's turns: {kinds} ms")
    if "codec_output" in figures:
        lines.append(f"  {mode}: codec {_db(figures['codec_output'])} against the eager one")
    memory = f"memory {figures['memory_mib']} MiB · " if "memory_mib" in figures else ""
    return [*lines, f"  {mode}: {memory}prepared in {figures['prepared_s']:.0f} s"]


def _db(output: dict[str, Any]) -> str:
    ratio = output["signal_to_error_db"]
    return "equal" if ratio is None else f"{ratio:.0f} dB"
