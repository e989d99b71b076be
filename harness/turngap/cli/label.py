"""What `turngap label` does: one recording's end of speech, to be checked by figures, by plot and by ear."""

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

REST_SAMPLES = 8000
"""One second between what is kept and what is cut."""


def run(path: Path, *, plot: Path | None, listen: Path | None, as_json: bool) -> int:
    """Label a recording and print; gives the exit code: 0 where it can be measured with, 1 where not.

    Raises:
        ScenarioError: it cannot be read, or holds no speech.
        UsageError: the picture or the sound cannot be written, or would be written over the recording.
    """
    for option, file in (("--plot", plot), ("--listen", listen)):
        if file is not None and file.resolve() == path.resolve():
            raise UsageError(f"{option} {file}: that is the recording itself; give another file")
    found = inspect(path)
    if plot is not None:
        from turngap.corpus import label_plot  # matplotlib takes a second to import

        label_plot.draw(found, plot)
    if listen is not None:
        _write(listen, to_listen_to(found))
    if as_json:
        print(json.dumps(_as_json(found)))
    else:
        _print(found, Console(soft_wrap=True, highlight=False))
    return 0 if found.usable else 1


def to_listen_to(found: Inspection) -> Pcm16:
    """What a scenario keeps, one second of silence, and what it cuts away after the end; shape (n,), 8 kHz.

    Whoever hears a piece of the last word after the silence has found a label that is too early.
    """
    kept = found.pcm[found.label.start_sample : found.label.end_sample]
    return np.concatenate([kept, np.zeros(REST_SAMPLES, np.int16), found.pcm[found.label.end_sample :]])


def _write(path: Path, pcm: Pcm16) -> None:
    try:
        soundfile.write(path, pcm, SAMPLE_RATE)
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as fault:
        raise UsageError(f"{path}: the sound cannot be written ({' '.join(str(fault).split())})") from None


def _as_json(found: Inspection) -> dict[str, object]:
    return {
        "file": str(found.path),
        "duration_ms": found.duration_ms,
        "start_ms": found.start_ms,
        "end_ms": found.end_ms,
        "low_ms": found.label.low_ms,
        "high_ms": found.label.high_ms,
        "firm": found.label.stable,
        "threshold_dbfs": round(found.threshold_dbfs, 1),
        "pauses_ms": [list(pause) for pause in found.pauses],
        "usable": found.usable,
        "remarks": list(found.remarks),
    }


def _print(found: Inspection, console: Console) -> None:
    def show(line: str) -> None:
        console.print(line, markup=False)

    label = found.label
    show(f"{found.path}: {found.duration_ms:.0f} ms")
    show(f"  speech     {found.start_ms:.0f} to {found.end_ms:.0f} ms (over {found.threshold_dbfs:.0f} dBFS)")
    show(
        f"  the end    moves by {label.low_ms:+.0f} / {label.high_ms:+.0f} ms with -5 / +5 dB (limit {MAX_MOVE_MS:.0f})"
    )
    for start_ms, end_ms in found.pauses:
        show(f"  pause      {start_ms:.0f} to {end_ms:.0f} ms: {end_ms - start_ms:.0f} ms inside the speech")
    for remark in found.remarks:
        show(f"  but        {remark}")
    if found.usable:
        show("  usable     look at --plot and listen to --listen before you rely on it")
