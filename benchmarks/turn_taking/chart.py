"""Draws the bargain: false cut-offs against mean delay, a panel a corpus, a line a detector, a dot a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
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
        figure = Figure(figsize=(6.2 * len(fronts), 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        for ax, (corpus, lines) in zip(figure.subplots(1, len(fronts), squeeze=False)[0], fronts.items(), strict=True):
            for colour, (name, points) in zip(_COLOURS, lines.items(), strict=False):
                best = [point for point in front(points) if point.mean_delay_ms <= _LATEST_MS]
                delays = [point.mean_delay_ms for point in best]
                ax.step(
                    delays, [100 * point.cut_off_rate for point in best], where="post", label=name, color=colour, lw=1.6
                )
            for marker, row in zip(_MARKERS, [row for row in rows if row.corpus == corpus], strict=False):
                if row.mean_ms is not None and row.pauses_cut.n:
                    rate = 100 * row.pauses_cut.events / row.pauses_cut.n
                    ax.plot([row.mean_ms], [rate], marker, color="#111827", ms=6, ls="", mfc="none", label=row.policy)
            ax.set(title=corpus, xlabel="mean delay after the true end, ms", ylabel="pauses cut off, %")
            ax.set_xlim(0, _LATEST_MS)
            ax.set_ylim(bottom=0)
            ax.grid(color="#e5e7eb")
            ax.legend(fontsize=8)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
