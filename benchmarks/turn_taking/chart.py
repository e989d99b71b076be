"""Draws the bargain: false cut-offs against mean delay, a panel a corpus, a line a detector, a dot a setting.

A line is the front of a detector's policies, chosen on the corpus that it is drawn for; a dot is what the agent does.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from turngap_agent.errors import UsageError

from benchmarks.turn_taking.figures import BargainFigures
from benchmarks.turn_taking.operating_points import OperatingPoint, front

SUFFIXES = (".svg", ".png")
_COLOURS = ("#6b7280", "#b45309", "#93c5fd", "#1d4ed8", "#047857", "#7c3aed", "#be123c")
_MARKERS = "osD^v*PXhd"
"""A policy each: names beside the dots would lie on each other."""
_LATEST_MS = 2000
_MARKED_RATES = (5, 10)
_LEGEND: dict[str, Any] = {"fontsize": 8, "title_fontsize": 8, "alignment": "left"}


def write(
    path: Path, fronts: Mapping[str, Mapping[str, Sequence[OperatingPoint]]], rows: Sequence[BargainFigures]
) -> None:
    """Write the chart as SVG or PNG.

    Raises:
        UsageError: the file's name ends in neither.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--chart {path}: a chart is written as {' or '.join(SUFFIXES)}")
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "turngap", "font.size": 11}):
        figure = Figure(figsize=(7.2 * len(fronts), 5.4), layout="constrained")
        FigureCanvasAgg(figure)
        for ax, (corpus, lines) in zip(figure.subplots(1, len(fronts), squeeze=False)[0], fronts.items(), strict=True):
            swept: list[Artist] = []
            for colour, (name, points) in zip(itertools.cycle(_COLOURS), lines.items(), strict=False):
                best = [point for point in front(points) if point.mean_delay_ms <= _LATEST_MS]
                delays = [point.mean_delay_ms for point in best]
                rates = [100 * point.cut_off_rate for point in best]
                swept += ax.step(delays, rates, where="post", label=name, color=colour, lw=1.6)
            settings: list[Artist] = []
            own = [row for row in rows if row.corpus == corpus]
            for marker, row in zip(itertools.cycle(_MARKERS), own, strict=False):
                if row.mean_ms is not None and row.pauses_cut.n:
                    rate = 100 * row.pauses_cut.events / row.pauses_cut.n
                    settings += ax.plot(
                        [row.mean_ms], [rate], marker, color="#111827", ms=6, ls="", mfc="none", label=row.policy
                    )
            for rate in _MARKED_RATES:
                ax.axhline(rate, color="#9ca3af", lw=0.8, ls=":")
            pauses, ends = (own[0].pauses_cut.n, own[0].ends) if own else (0, 0)
            ax.set(
                title=f"{corpus}: {pauses} pauses, {ends} ends",
                xlabel="mean delay after the true end, ms",
                ylabel="pauses of 200 ms and more cut off, %",
            )
            ax.set_xlim(0, _LATEST_MS)
            ax.set_ylim(bottom=0)
            ax.grid(color="#e5e7eb")
            first = ax.legend(handles=swept, title="detectors: best policies, chosen on this speech", **_LEGEND, loc=1)
            ax.add_artist(first)
            ax.legend(handles=settings, title="settings of the agent", **_LEGEND, loc=7)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
