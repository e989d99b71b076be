"""The command line of `turngap label`; what reads audio is imported only when the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def label(
    recordings: Annotated[
        list[Path], typer.Argument(metavar="RECORDING...", help="Audio: WAV, FLAC, Ogg, MP3, AIFF, AU and CAF.")
    ],
    plot: Annotated[
        Path | None, typer.Option(help="Plot waveform, level and label: a .png or .svg file; for a single recording.")
    ] = None,
    listen: Annotated[
        Path | None, typer.Option(help="Write a .wav file: what is kept, 1 s of silence, what is cut.")
    ] = None,
    align: Annotated[
        bool, typer.Option("--align", help="Show where the recogniser's last word ends, as a second opinion.")
    ] = False,
    write_labels: Annotated[
        bool, typer.Option("--write-labels", help="Write each label beside its recording, an Audacity label track.")
    ] = False,
    against_labels: Annotated[
        bool, typer.Option("--against-labels", help="Print a table: the other labels less those of the label files.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Label recordings as a run does: where speech ends, and whether that is firm. Exit code 1 if one has a problem."""
    from turngap.cli import label as command

    raise typer.Exit(
        command.run(
            recordings,
            plot=plot,
            listen=listen,
            align=align,
            against_labels=against_labels,
            write_labels=write_labels,
            as_json=as_json,
        )
    )
