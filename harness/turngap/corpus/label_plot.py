"""A recording as a picture: waveform and level, the label and how far it moves, what is kept and what is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from turngap_agent.errors import UsageError

from turngap.caller.onset import FRAME_SAMPLES, levels_dbfs
from turngap.corpus.labels import SHIFT_DB
from turngap.corpus.recording_check import Inspection

_VOICE, _CUT, _LABEL, _SHIFT, _PAUSE = "#1f5fa8", "#b9c4d0", "#c0392b", "#e6a23c", "#f3e3b3"
_CLOSE_MS = 250
"""The lower right picture shows so much on both sides of the end."""


def draw(found: Inspection, path: Path) -> None:
    """Write the picture, PNG or SVG by its suffix.

    Raises:
        UsageError: it cannot be written.
    """
    figure = Figure(figsize=(11, 6.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    wave, level, close = figure.subplot_mosaic([["wave", "wave"], ["level", "close"]], width_ratios=[2, 1]).values()
    ms = np.arange(len(found.pcm)) / 8
    kept = (ms >= found.start_ms) & (ms < found.end_ms)
    for axes in (wave, close):
        axes.plot(ms, np.where(kept, np.nan, found.pcm / 32_768), color=_CUT, linewidth=0.6, label="cut away")
        axes.plot(ms, np.where(kept, found.pcm / 32_768, np.nan), color=_VOICE, linewidth=0.6, label="kept")
    levels = levels_dbfs(found.pcm)
    level.step(np.arange(len(levels)) * FRAME_SAMPLES / 8, levels, where="post", color=_VOICE, linewidth=1)
    level.axhline(
        found.threshold_dbfs, color=_LABEL, linewidth=1, label=f"speech is over {found.threshold_dbfs:.0f} dBFS"
    )
    level.axhspan(
        found.threshold_dbfs - SHIFT_DB, found.threshold_dbfs + SHIFT_DB, color=_SHIFT, alpha=0.25, label="±5 dB"
    )
    for axes in (wave, level, close):
        axes.axvline(found.start_ms, color=_LABEL, linewidth=1, linestyle=":")
        axes.axvline(found.end_ms, color=_LABEL, linewidth=1.2, label=f"end of speech, {found.end_ms:.0f} ms")
        for move in (found.label.low_ms, found.label.high_ms):
            axes.axvline(found.end_ms + move, color=_SHIFT, linewidth=1, linestyle="--")
        for start_ms, end_ms in found.pauses:
            axes.axvspan(start_ms, end_ms, color=_PAUSE, zorder=0)
        axes.set_xlabel("ms")
    near = found.pcm[max(0, round((found.end_ms - _CLOSE_MS) * 8)) : round((found.end_ms + _CLOSE_MS) * 8)] / 32_768
    close.set_xlim(found.end_ms - _CLOSE_MS, found.end_ms + _CLOSE_MS)
    close.set_ylim(-(peak := max(0.01, float(np.abs(near).max(initial=0))) * 1.05), peak)
    close.set_title(f"the end: {found.label.low_ms:+.0f} / {found.label.high_ms:+.0f} ms with ∓5 dB", fontsize=10)
    wave.set_title(f"{found.path.name}: {found.end_ms - found.start_ms:.0f} ms of speech")
    wave.legend(loc="upper right", fontsize=8)
    level.set_ylabel("dBFS, 10 ms frames")
    level.legend(loc="lower center", fontsize=8)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as fault:
        raise UsageError(f"{path}: the picture cannot be written ({' '.join(str(fault).split())})") from None
