"""`turngap label`: the end of speech of a recording, to be checked by figures, by plot and by ear."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from turngap_agent.errors import UsageError
from turngap_agent.telephony import SAMPLE_RATE

from turngap.corpus.labels import MAX_MOVE_MS
from turngap.corpus.recording_check import Inspection, inspect
from turngap.model.records import Pcm16

SILENCE_SAMPLES = 8000
"""One second of silence between the two parts."""


def run(path: Path, *, plot: Path | None, listen: Path | None, as_json: bool) -> int:
    """Label a recording, print it, and return the exit code: 0 if it can be measured with, else 1.

    Raises:
        ScenarioError: it cannot be read, or has no speech.
        UsageError: the picture or the sound cannot be written, or would be written over the recording.
    """
    for option, file in (("--plot", plot), ("--listen", listen)):
        if file is not None and file.resolve() == path.resolve():
            raise UsageError(f"{option} {file}: that is the recording itself; give another file")
    inspection = inspect(path)
    if plot is not None:
        from turngap.corpus import label_plot  # matplotlib takes a second to import

        label_plot.draw(inspection, plot)
    if listen is not None:
        _write(listen, join_parts(inspection))
    if as_json:
        print(json.dumps(_as_json(inspection)))
    else:
        _print(inspection, Console(soft_wrap=True, highlight=False))
    return 0 if inspection.usable else 1


def join_parts(inspection: Inspection) -> Pcm16:
    """Return what a scenario keeps, one second of silence, and what it cuts off after the end; shape (n,), 8 kHz.

    Whoever hears a piece of the last word after the silence has inspection a label that is too early.
    """
    kept = inspection.pcm[inspection.label.start_sample : inspection.label.end_sample]
    return np.concatenate([kept, np.zeros(SILENCE_SAMPLES, np.int16), inspection.pcm[inspection.label.end_sample :]])


def _write(path: Path, pcm: Pcm16) -> None:
    try:
        soundfile.write(path, pcm, SAMPLE_RATE)
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: the sound cannot be written ({' '.join(str(error).split())})") from None


def _as_json(inspection: Inspection) -> dict[str, object]:
    return {
        "file": str(inspection.path),
        "duration_ms": inspection.duration_ms,
        "start_ms": inspection.start_ms,
        "end_ms": inspection.end_ms,
        "low_ms": inspection.label.low_ms,
        "high_ms": inspection.label.high_ms,
        "firm": inspection.label.stable,
        "threshold_dbfs": round(inspection.threshold_dbfs, 1),
        "pauses_ms": [list(pause) for pause in inspection.pauses],
        "usable": inspection.usable,
        "remarks": list(inspection.remarks),
    }


def _print(inspection: Inspection, console: Console) -> None:
    def show(line: str) -> None:
        console.print(line, markup=False)

    label = inspection.label
    show(f"{inspection.path}: {inspection.duration_ms:.0f} ms")
    threshold = f"over {inspection.threshold_dbfs:.0f} dBFS"
    show(f"  speech     {inspection.start_ms:.0f} to {inspection.end_ms:.0f} ms ({threshold})")
    show(
        f"  the end    moves by {label.low_ms:+.0f} / {label.high_ms:+.0f} ms with -5 / +5 dB (limit {MAX_MOVE_MS:.0f})"
    )
    for start_ms, end_ms in inspection.pauses:
        show(f"  pause      {start_ms:.0f} to {end_ms:.0f} ms: {end_ms - start_ms:.0f} ms inside the speech")
    for remark in inspection.remarks:
        show(f"  but        {remark}")
    if inspection.usable:
        show("  usable     look at --plot and listen to --listen before you rely on it")
