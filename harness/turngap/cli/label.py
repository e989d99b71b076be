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

from turngap.annotations import write_audacity
from turngap.cli import label_text
from turngap.corpus.label_opinions import LabelOpinions, align_words, gather_opinions
from turngap.model.plural import plural
from turngap.model.records import Pcm16
from turngap.progress import PipeConsole

OUTPUT_SUFFIXES = {"--plot": (".png", ".svg"), "--listen": (".wav",)}
LABEL_SUFFIX = ".txt"
SEPARATOR_SAMPLES = 8000
"""One second between what is kept and what is cut."""


def run(
    paths: Sequence[Path],
    *,
    plot: Path | None,
    listen: Path | None,
    align: bool = False,
    against_labels: bool = False,
    write_labels: bool = False,
    as_json: bool = False,
) -> int:
    """Label recordings and print the results; return the exit code: 0 if all can be used, 1 if one cannot.

    The JSON of one recording is an object; that of several is a list. Against labels by hand the exit code is 0.

    Raises:
        ScenarioError: some recordings cannot be read, or hold no speech: a line for each, after the others' results.
        UsageError: a folder was given, or the plot, the sound or a label file cannot be written.
    """
    _check_arguments(paths, {"--plot": plot, "--listen": listen})
    if write_labels:
        _check_label_files(paths)
    console = PipeConsole(soft_wrap=True, highlight=False)
    opinions: list[LabelOpinions] = []
    errors: list[ScenarioError] = []
    for path in paths:
        try:
            opinions.append(gather_opinions(path))
        except ScenarioError as error:
            errors.append(error)
            continue
        if not (as_json or align or against_labels):
            _print(label_text.describe(opinions[-1]), console)
    opinions = align_words(opinions) if align else opinions
    if against_labels and not any(each.hand for each in opinions) and not errors:
        raise UsageError(
            "--against-labels: none of the recordings has a label file beside it, such as "
            f"{paths[0].with_suffix('.txt')}",
            code="usage.labels",
        )
    if against_labels and not as_json:
        _print(label_text.tabulate_against_hand(opinions), console)
    elif align and not as_json:
        for each in opinions:
            _print(label_text.describe(each), console)
    for each in opinions:
        _write_outputs(each, plot, listen, write_labels=write_labels)
    if as_json and (opinions or len(paths) > 1):
        results = [label_text.to_json(each) for each in opinions]
        print(json.dumps(results if len(paths) > 1 else results[0]))
    if errors:
        raise ScenarioError("\n".join(str(error) for error in errors), code=errors[0].code)
    return 0 if against_labels or all(each.is_usable for each in opinions) else 1


def _print(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(line, markup=False)


def _write_outputs(opinions: LabelOpinions, plot: Path | None, listen: Path | None, *, write_labels: bool) -> None:
    if plot is not None:
        from turngap.corpus.label_plot import plot_label  # matplotlib takes a second to import

        plot_label(opinions, plot)
    if listen is not None:
        _write(listen, make_listening_audio(opinions))
    if write_labels:
        target = opinions.check.path.with_suffix(LABEL_SUFFIX)
        try:
            target.write_text(write_audacity(opinions.to_annotations()), "utf-8")
        except OSError as error:
            raise write_error(f"--write-labels: {target} cannot be written", error) from None


def _check_label_files(paths: Sequence[Path]) -> None:
    """Check that no label file that is to be written is there: it may be a person's work."""
    there = [path.with_suffix(LABEL_SUFFIX) for path in paths if path.with_suffix(LABEL_SUFFIX).exists()]
    if there:
        raise UsageError(f"--write-labels: {there[0]} is there already; move it away first", code="usage.output")


def make_listening_audio(opinions: LabelOpinions) -> Pcm16:
    """Return what a scenario keeps, one second of silence, and what it cuts after the end; shape (n,), 8 kHz.

    If a piece of the last word is heard after the silence, the label is too early.
    """
    start, end = (round(ms * SAMPLE_RATE / 1000) for ms in opinions.span_ms)
    pcm = opinions.check.pcm
    return np.concatenate([pcm[start:end], np.zeros(SEPARATOR_SAMPLES, np.int16), pcm[end:]])


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
