"""`turngap label`: the end of speech in recordings, to be checked by figures, by plot and by ear."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from turngap_agent import files
from turngap_agent.errors import ScenarioError, UsageError, write_error
from turngap_agent.telephony import SAMPLE_RATE

from turngap.caller.onset import DBM0_OVER_DBFS, format_level
from turngap.corpus.labels import MAX_MOVE_MS
from turngap.corpus.recording_check import RecordingCheck, check_recording
from turngap.model.plural import plural
from turngap.model.records import Pcm16
from turngap.progress import PipeConsole

OUTPUT_SUFFIXES = {"--plot": (".png", ".svg"), "--listen": (".wav",)}
SEPARATOR_SAMPLES = 8000
"""One second between what is kept and what is cut."""


def run(paths: Sequence[Path], *, plot: Path | None, listen: Path | None, as_json: bool) -> int:
    """Label recordings and print the results; return the exit code: 0 if all can be used, 1 if one cannot.

    The JSON of one recording is an object; that of several is a list.

    Raises:
        ScenarioError: some recordings cannot be read, or hold no speech: a line for each, after the others' results.
        UsageError: a folder was given, or the plot or the sound cannot be written.
    """
    _check_arguments(paths, {"--plot": plot, "--listen": listen})
    console = PipeConsole(soft_wrap=True, highlight=False)
    checks: list[RecordingCheck] = []
    errors: list[ScenarioError] = []
    for path in paths:
        try:
            checks.append(check_recording(path))
        except ScenarioError as error:
            errors.append(error)
            continue
        if not as_json:
            _print_check(checks[-1], console)
    for check in checks:
        if plot is not None:
            from turngap.corpus.label_plot import plot_label  # matplotlib takes a second to import

            plot_label(check, plot)
        if listen is not None:
            _write(listen, make_listening_audio(check))
    if as_json and (checks or len(paths) > 1):
        results = [_to_json(check) for check in checks]
        print(json.dumps(results if len(paths) > 1 else results[0]))
    if errors:
        raise ScenarioError("\n".join(str(error) for error in errors), code=errors[0].code)
    return 0 if all(check.usable for check in checks) else 1


def make_listening_audio(check: RecordingCheck) -> Pcm16:
    """Return what a scenario keeps, one second of silence, and what it cuts after the end; shape (n,), 8 kHz.

    If a piece of the last word is heard after the silence, the label is too early.
    """
    speech = check.pcm[check.label.start_sample : check.label.end_sample]
    return np.concatenate([speech, np.zeros(SEPARATOR_SAMPLES, np.int16), check.pcm[check.label.end_sample :]])


def _check_arguments(paths: Sequence[Path], outputs: dict[str, Path | None]) -> None:
    for path in paths:
        if path.is_dir():
            recordings = [file for file in path.iterdir() if file.is_file()]
            raise UsageError(
                f"{path}: that is a folder with {plural(len(recordings), 'file')}; give the recordings in it, as in: "
                f"turngap label {path / '*.wav'}",
                code="usage.folder",
            )
    for option, output in outputs.items():
        if output is None:
            continue
        if len(paths) > 1:
            raise UsageError(f"{option} {output}: it takes a single recording; {len(paths)} were given")
        if output.resolve() == paths[0].resolve():
            raise UsageError(f"{option} {output}: that is the recording itself; give another file", code="usage.output")
        suffixes = OUTPUT_SUFFIXES[option]
        if output.suffix.lower() not in suffixes and not output.is_dir():
            raise UsageError(f"{option} {output}: give a {' or '.join(suffixes)} file", code="usage.output")
        files.check_writable(output, option)


def _write(path: Path, pcm: Pcm16) -> None:
    try:
        soundfile.write(path, pcm, SAMPLE_RATE)
    except OSError as error:
        raise write_error(f"--listen {path}: the sound cannot be written", error) from None
    except soundfile.LibsndfileError as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"--listen {path}: the sound cannot be written ({reason})", code="usage.output") from None


def _to_json(check: RecordingCheck) -> dict[str, object]:
    return {
        "file": str(check.path),
        "duration_ms": check.duration_ms,
        "start_ms": check.start_ms,
        "end_ms": check.end_ms,
        "low_ms": check.label.low_ms,
        "high_ms": check.label.high_ms,
        "firm": check.label.is_firm,
        "threshold_dbfs": round(check.threshold_dbfs, 1),
        "threshold_dbm0": round(check.threshold_dbfs + DBM0_OVER_DBFS, 1),
        "level_dbfs": round(check.level_dbfs, 1),
        "level_dbm0": round(check.level_dbfs + DBM0_OVER_DBFS, 1),
        "pauses_ms": [list(pause) for pause in check.pauses],
        "usable": check.usable,
        "remarks": list(check.remarks),
    }


def _print_check(check: RecordingCheck, console: Console) -> None:
    label = check.label
    moves = f"{label.low_ms:+.1f} / {label.high_ms:+.1f} ms"
    lines = [
        f"{check.path}: {check.duration_ms:.0f} ms",
        f"  speech     {check.start_ms:.1f} to {check.end_ms:.1f} ms, over {format_level(check.threshold_dbfs)}",
        f"  level      {format_level(check.level_dbfs)} as spoken, over the frames that are speech",
        f"  end        moves by {moves} with thresholds at -5 / +5 dB (limit {MAX_MOVE_MS:.0f})",
    ]
    for start_ms, end_ms in check.pauses:
        lines.append(f"  pause      {start_ms:.0f} to {end_ms:.0f} ms: {end_ms - start_ms:.0f} ms inside the speech")
    lines += [f"  problem    {remark}" for remark in check.remarks]
    if check.usable:
        lines.append("  usable     look at --plot and listen to --listen before you rely on it")
    for line in lines:
        console.print(line, markup=False)
