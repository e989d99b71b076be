"""A plot of one recording: waveform and level, the label and its moves, what is kept and what is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from turngap_agent.errors import write_error

from turngap.caller.onset import DBM0_OVER_DBFS, LEVEL_FRAME_SAMPLES, format_level, levels_dbfs
from turngap.corpus.labels import SHIFT_DB
from turngap.corpus.recording_check import RecordingCheck

_VOICE, _CUT, _LABEL, _SHIFT, _PAUSE = "#1f5fa8", "#b9c4d0", "#c0392b", "#e6a23c", "#f3e3b3"
_CLOSE_MS = 250
"""The lower right axes show this much on both sides of the end."""


def plot_label(check: RecordingCheck, path: Path) -> None:
    """Write the plot to `path`, in the format of its suffix.

    Raises:
        UsageError: it cannot be written.
        HarnessError: the disk is full.
    """
    figure = Figure(figsize=(11, 6.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    wave, level, close = figure.subplot_mosaic([["wave", "wave"], ["level", "close"]], width_ratios=[2, 1]).values()
    ms = np.arange(len(check.pcm)) / 8
    in_clip = (ms >= check.start_ms) & (ms < check.end_ms)
    for axes in (wave, close):
        axes.plot(ms, np.where(in_clip, np.nan, check.pcm / 32_768), color=_CUT, linewidth=0.6, label="cut away")
        axes.plot(ms, np.where(in_clip, check.pcm / 32_768, np.nan), color=_VOICE, linewidth=0.6, label="kept")
    levels = levels_dbfs(check.pcm)
    level.step(np.arange(len(levels)) * LEVEL_FRAME_SAMPLES / 8, levels, where="post", color=_VOICE, linewidth=1)
    level.axhline(
        check.threshold_dbfs, color=_LABEL, linewidth=1, label=f"speech is over {format_level(check.threshold_dbfs)}"
    )
    level.axhspan(
        check.threshold_dbfs - SHIFT_DB, check.threshold_dbfs + SHIFT_DB, color=_SHIFT, alpha=0.25, label="±5 dB"
    )
    for axes in (wave, level, close):
        axes.axvline(check.start_ms, color=_LABEL, linewidth=1, linestyle=":")
        axes.axvline(check.end_ms, color=_LABEL, linewidth=1.2, label=f"end of speech, {check.end_ms:.1f} ms")
        for move in (check.label.low_ms, check.label.high_ms):
            axes.axvline(check.end_ms + move, color=_SHIFT, linewidth=1, linestyle="--")
        for start_ms, end_ms in check.pauses:
            axes.axvspan(start_ms, end_ms, color=_PAUSE, zorder=0)
        axes.set_xlabel("ms")
    around = check.pcm[max(0, round((check.end_ms - _CLOSE_MS) * 8)) : round((check.end_ms + _CLOSE_MS) * 8)] / 32_768
    close.set_xlim(check.end_ms - _CLOSE_MS, check.end_ms + _CLOSE_MS)
    close.set_ylim(-(peak := max(0.01, float(np.abs(around).max(initial=0))) * 1.05), peak)
    close.set_title(f"the end: {check.label.low_ms:+.0f} / {check.label.high_ms:+.0f} ms with ∓5 dB", fontsize=10)
    wave.set_title(f"{check.path.name}: {check.end_ms - check.start_ms:.0f} ms of speech")
    wave.legend(loc="upper right", fontsize=8)
    level.set_ylabel(f"dBFS, 10 ms frames (0 dBFS: {DBM0_OVER_DBFS:+.1f} dBm0)")
    level.legend(loc="lower center", fontsize=8)
    try:
        figure.savefig(path)
    except OSError as error:
        raise write_error(f"--plot {path}: the plot cannot be written", error) from None
