"""A plot of one recording: waveform and level, the label and its moves, what is kept and what is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from turngap_agent.errors import write_error

from turngap.caller.onset import DBM0_OVER_DBFS, LEVEL_FRAME_SAMPLES, format_level, levels_dbfs
from turngap.corpus.label_opinions import LabelOpinions
from turngap.corpus.labels import SHIFT_DB
from turngap.model.records import LabelSource

_VOICE, _CUT, _LABEL, _SHIFT, _PAUSE = "#1f5fa8", "#b9c4d0", "#c0392b", "#e6a23c", "#f3e3b3"
_FLOOR, _WORDS = "#7d3c98", "#1e8449"
_HOW = {
    LabelSource.THRESHOLD: "by level",
    LabelSource.FLOOR: "by the noise floor",
    LabelSource.HAND: "by hand",
    LabelSource.ALIGNED: "by alignment",
}
_CLOSE_MS = 250
"""The lower right axes show this much on both sides of the ends."""


def plot_label(opinions: LabelOpinions, path: Path) -> None:
    """Write the plot to `path`, in the format of its suffix: the label that a run takes, and the others that differ.

    Raises:
        UsageError: it cannot be written.
        HarnessError: the disk is full.
    """
    check, (start_ms, end_ms), moves = opinions.check, opinions.span_ms, opinions.moves_ms
    figure = Figure(figsize=(11, 6.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    wave, level, close = figure.subplot_mosaic([["wave", "wave"], ["level", "close"]], width_ratios=[2, 1]).values()
    ms = np.arange(len(check.pcm)) / 8
    in_clip = (ms >= start_ms) & (ms < end_ms)
    for axes in (wave, close):
        axes.plot(ms, np.where(in_clip, np.nan, check.pcm / 32_768), color=_CUT, linewidth=0.6, label="cut away")
        axes.plot(ms, np.where(in_clip, check.pcm / 32_768, np.nan), color=_VOICE, linewidth=0.6, label="kept")
    levels = levels_dbfs(check.pcm)
    level.step(np.arange(len(levels)) * LEVEL_FRAME_SAMPLES / 8, levels, where="post", color=_VOICE, linewidth=1)
    over = "speech is over" if opinions.source is LabelSource.THRESHOLD else "a clean clip's threshold,"
    level.axhline(check.threshold_dbfs, color=_LABEL, linewidth=1, label=f"{over} {format_level(check.threshold_dbfs)}")
    level.axhspan(
        check.threshold_dbfs - SHIFT_DB, check.threshold_dbfs + SHIFT_DB, color=_SHIFT, alpha=0.25, label="±5 dB"
    )
    for axes in (wave, level, close):
        axes.axvline(start_ms, color=_LABEL, linewidth=1, linestyle=":")
        axes.axvline(
            end_ms, color=_LABEL, linewidth=1.2, label=f"end of speech {_HOW[opinions.source]}, {end_ms:.1f} ms"
        )
        for move in moves:
            axes.axvline(end_ms + move, color=_SHIFT, linewidth=1, linestyle="--")
        for name, other_ms, colour in _list_others(opinions):
            axes.axvline(other_ms, color=colour, linewidth=1.2, linestyle="-.", label=f"{name}, {other_ms:.0f} ms")
        for pause_start, pause_end in opinions.pauses_ms:
            axes.axvspan(pause_start, pause_end, color=_PAUSE, zorder=0)
        axes.set_xlabel("ms")
    ends = [end_ms, *(other_ms for _, other_ms, _ in _list_others(opinions))]
    first_ms, last_ms = min(ends) - _CLOSE_MS, max(ends) + _CLOSE_MS
    around = check.pcm[max(0, round(first_ms * 8)) : round(last_ms * 8)] / 32_768
    close.set_xlim(first_ms, last_ms)
    close.set_ylim(-(peak := max(0.01, float(np.abs(around).max(initial=0))) * 1.05), peak)
    by_threshold = opinions.source is LabelSource.THRESHOLD
    close.set_title(
        f"the end: {moves[0]:+.0f} / {moves[1]:+.0f} ms{' with ∓5 dB' if by_threshold else ''}", fontsize=10
    )
    wave.set_title(f"{check.path.name}: {end_ms - start_ms:.0f} ms of speech")
    wave.legend(loc="upper right", fontsize=8)
    level.set_ylabel(f"dBFS, 10 ms frames (0 dBFS: {DBM0_OVER_DBFS:+.1f} dBm0)")
    level.legend(loc="lower center", fontsize=8)
    try:
        figure.savefig(path)
    except OSError as error:
        raise write_error(f"--plot {path}: the plot cannot be written", error) from None


def _list_others(opinions: LabelOpinions) -> list[tuple[str, float, str]]:
    """Return name, end in ms and colour of the labels that are not taken, but for a threshold that noise is over."""
    others = []
    if opinions.source is not LabelSource.FLOOR and opinions.source is not LabelSource.THRESHOLD and opinions.floor:
        others.append(("by the noise floor", opinions.floor.end_ms, _FLOOR))
    if opinions.words_end_ms is not None:
        others.append(("last word of the recogniser", opinions.words_end_ms, _WORDS))
    return others
