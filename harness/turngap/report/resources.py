"""GPU memory over the run and by engine, and the agent's processor time and memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from turngap.model.agent_figures import GpuFigures, KvCacheFigures
from turngap.model.turn import TurnRecord
from turngap.report.svg import Canvas, css_colour, render_chart

MOST_POINTS = 500
_NS_PER_S = 1e9
_LINES = ("accent", "llm", "tts", "endpointing", "stt", "conversion", "over", "muted")


def decimate(frame: pd.DataFrame, column: str, most: int = MOST_POINTS) -> pd.DataFrame:
    """Return at most `most` rows: the largest value of each stretch, so that no peak is lost."""
    frame = frame.sort_values("at_s", kind="stable")
    if len(frame) <= most:
        return frame
    stretch = pd.Series(range(len(frame)), index=frame.index) * most // len(frame)
    return frame.loc[frame.groupby(stretch)[column].idxmax()]


def draw_gpu_memory(samples: pd.DataFrame, gpus: tuple[GpuFigures, ...], turns: Sequence[TurnRecord] = ()) -> Markup:
    """Draw used GPU memory over the run in GB, with the plan's total as a band and the card's size as a line.

    The turns are marked below it, each from the end of the caller's speech to the answer.
    """
    numbers = [gpu.number for gpu in gpus]
    of_agent = samples[samples["gpu"].isin(numbers)]
    samples = (samples if of_agent.empty else of_agent).reset_index(drop=True)
    began_s, ended_s = float(samples["at_s"].min()), float(samples["at_s"].max())
    marks = turn_intervals(turns, began_s, ended_s)
    samples = samples.assign(gb=samples["used_mib"] / MIB_PER_GB, at_s=samples["at_s"] - began_s)
    size = max((gpu.total_mib / MIB_PER_GB for gpu in gpus), default=0.0)
    top = max(float(samples["gb"].max()), size, TOTAL_GB[1]) * 1.04

    def draw(canvas: Canvas) -> None:
        ax = canvas.axes(left=46, right=14, top=20, bottom=46)
        ax.set_xlim(0, max(float(samples["at_s"].max()), 1.0))
        ax.set_ylim(0, top)
        ax.grid(axis="y", color=css_colour("grid"), lw=1)
        ax.set_xlabel("seconds", color=css_colour("muted"), labelpad=8)
        ax.axhspan(*TOTAL_GB, color=css_colour("llm"), alpha=0.12, lw=0)
        middle = sum(TOTAL_GB) / 2
        low, high = TOTAL_GB
        ax.text(
            ax.get_xlim()[1], middle, f"plan {low:.0f}–{high:.0f} GB ", color=css_colour("llm"), ha="right", va="center"
        )
        if size:
            ax.axhline(size, color=css_colour("budget"), lw=1.5)
            ax.text(0, size - top * 0.02, f" the card holds {size:.0f} GB", color=css_colour("budget"), va="top")
        if marks:
            # One path of all, broken by nan: an element for each would be most of the page.
            times = [at for begin, end in marks for at in (begin, end, math.nan)]
            heights = [top * 0.02 if at == at else math.nan for at in times]
            ax.plot(times, heights, color=css_colour("conversion"), lw=5, solid_capstyle="butt")
            ax.text(ax.get_xlim()[1], top * 0.035, "turns ", color=css_colour("conversion"), ha="right", va="bottom")
        for index, (number, memory_rows) in enumerate(samples.groupby("gpu")):
            line = decimate(memory_rows, "gb")
            role = _LINES[index % len(_LINES)]
            ax.plot(line["at_s"], line["gb"], color=css_colour(role), lw=2, clip_on=False)
            if samples["gpu"].nunique() > 1:
                end = line.iloc[-1]
                ax.text(end["at_s"], end["gb"], f"GPU {number:.0f} ", color=css_colour(role), ha="right", va="bottom")

    description = (
        f"Used GPU memory over the run, at most {samples['gb'].max():.1f} GB, against the plan of 45 to 65 GB"
        f"{'; the turns are marked below it' if marks else ''}."
    )
    return render_chart("gpu-memory", "GPU memory over the run", description, draw, (1040, 240), (350, 220))


def turn_intervals(turns: Sequence[TurnRecord], began_s: float, ended_s: float) -> list[tuple[float, float]]:
    """Return start and end of each turn, s after `began_s`; turns that are closer than a pixel are one.

    Unanswered turns are marked at the end of speech only; those outside the samples are left out.
    """
    pixel_s = (ended_s - began_s) / 1000
    intervals: list[tuple[float, float]] = []
    for begin_ns, end_ns in sorted((turn.t0_ns, turn.t1_ns or turn.t0_ns) for turn in turns):
        begin, end = begin_ns / _NS_PER_S, max(end_ns / _NS_PER_S, begin_ns / _NS_PER_S + pixel_s)
        if not began_s <= begin <= ended_s:
            continue
        begin, end = begin - began_s, min(end, ended_s) - began_s
        if intervals and begin - intervals[-1][1] < pixel_s:
            intervals[-1] = (intervals[-1][0], max(intervals[-1][1], end))
        else:
            intervals.append((begin, end))
    return intervals


def draw_process(samples: pd.DataFrame) -> Markup:
    """Draw the agent's processor use (% of one core) and resident memory (MiB), one above the other."""
    samples = samples.reset_index(drop=True).sort_values("at_s", kind="stable")
    samples = samples.assign(at_s=samples["at_s"] - samples["at_s"].min())
    series = (("cpu_percent", "processor, % of one core", "accent"), ("rss_mib", "resident memory, MiB", "tts"))

    def draw(canvas: Canvas) -> None:
        for place, (column, words, role) in enumerate(series):
            half = (canvas.height - 46) // 2
            ax = canvas.axes(left=46, right=14, top=24 + place * half, bottom=46 + (1 - place) * half)
            line = decimate(samples, column, 300)
            ax.set_xlim(0, max(float(samples["at_s"].max()), 1.0))
            ax.set_ylim(0, max(float(samples[column].max()), 1.0) * 1.08)
            ax.locator_params(axis="y", nbins=3)
            ax.grid(axis="y", color=css_colour("grid"), lw=1)
            ax.plot(line["at_s"], line[column], color=css_colour(role), lw=1.5, clip_on=False)
            ax.set_title(words, loc="left", fontsize=12, color=css_colour(role), pad=5)
            if place == 0:
                ax.set_xticklabels([])
            else:
                ax.set_xlabel("seconds", color=css_colour("muted"), labelpad=8)

    description = (
        f"Processor use, at most {samples['cpu_percent'].max():.0f} % of one core, and resident memory, at most "
        f"{samples['rss_mib'].max():.0f} MiB, of the agent's process over the run."
    )
    return render_chart("process", "The agent's process", description, draw, (1040, 260), (350, 260))


MIB_PER_GB = 1e9 / 2**20


@dataclass(frozen=True, slots=True)
class PlannedMemory:
    """A line of the plan for one A100 with 80 GB, GB."""

    name: str
    low_gb: float
    high_gb: float
    section: str
    """Of the profile; `cuda` is what CUDA takes for the agent's process before any engine."""


PLAN = (
    PlannedMemory("Silero", 0.05, 0.1, "vad"),
    PlannedMemory("Whisper", 2, 5, "stt"),
    PlannedMemory("Gemma 3 27B INT4 and its KV cache", 34.1, 44.1, "llm"),
    PlannedMemory("CSM", 2, 4, "tts"),
    PlannedMemory("CUDA", 5, 10, "cuda"),
)
TOTAL_GB = (45.0, 65.0)


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """One line of the memory table; GB, None if not known."""

    name: str
    planned: str
    reserved_gb: float | None
    used_gb: float | None
    """At the peak, without the reserved part that was never used, if that is known."""


def memory_rows(
    held_mib: Mapping[str, float], gpu: GpuFigures, kv_cache: KvCacheFigures | None = None
) -> tuple[MemoryRow, ...]:
    """Return the memory before the run, of each engine, of the calls, and the peak, which is their sum.

    `held_mib`: by section of the profile, the engine's memory after loading. `kv_cache` is the language model's;
    without it, or without a figure for its engine, all reserved memory counts as used.
    """
    idle_mib = kv_cache.reserved_mib - kv_cache.used_peak_mib if kv_cache is not None and "llm" in held_mib else 0.0
    rows = [_row("in use before the agent", "", gpu.used_before_mib)]
    for line in PLAN:
        idle = idle_mib if line.section == "llm" else 0.0
        rows.append(_row(line.name, _range(line.low_gb, line.high_gb), held_mib.get(line.section), idle))
    rest = gpu.used_peak_mib - gpu.used_before_mib - sum(held_mib.values())
    rows.append(_row("added during the calls, by no single engine", "", rest))
    rows.append(_row("peak", _range(*TOTAL_GB), gpu.used_peak_mib, idle_mib))
    return tuple(rows)


def accounted_share(held_mib: Mapping[str, float], gpu: GpuFigures) -> float | None:
    """Return memory before the run and of the engines, over the peak; None if the engines' parts are not known."""
    if not held_mib or not gpu.used_peak_mib:
        return None
    return (gpu.used_before_mib + sum(held_mib.values())) / gpu.used_peak_mib


def _range(low_gb: float, high_gb: float) -> str:
    return f"{low_gb:g}" if low_gb == high_gb else f"{low_gb:g}–{high_gb:g}"


def _row(name: str, planned: str, mib: float | None, idle_mib: float = 0.0) -> MemoryRow:
    if mib is None:
        return MemoryRow(name, planned, None, None)
    return MemoryRow(name, planned, mib / MIB_PER_GB, (mib - idle_mib) / MIB_PER_GB)
