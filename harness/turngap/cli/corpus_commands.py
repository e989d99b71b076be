"""`turngap corpus`: its commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

corpus = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Recorded natural turns: list, fetch, check, convert."
)
CORPUS = "A pinned corpus, or the path of a folder, archive or table."
JSON = "Print the result as JSON, and nothing else."


@corpus.command("list")
def _list(as_json: Annotated[bool, typer.Option("--json", help=JSON)] = False) -> None:
    """List the pinned corpora: size, licence, and whether they are on this machine."""
    from turngap.cli import corpus as command

    command.print_pinned(as_json=as_json)


@corpus.command("pull")
def _pull(
    name: Annotated[
        str, typer.Argument(help="A pinned corpus, or ORG/NAME@COMMIT:PATH.parquet of a data set on the hub.")
    ],
    licence: Annotated[str, typer.Option(help="The licence of a data set that is not pinned.")] = "",
) -> None:
    """Fetch a corpus, verify it and write its table; prints the folder."""
    from turngap.cli import corpus as command

    print(command.pull(name, licence))


@corpus.command("check")
def _check(
    name: Annotated[str, typer.Argument(metavar="CORPUS", help=CORPUS)],
    as_json: Annotated[bool, typer.Option("--json", help=JSON)] = False,
) -> None:
    """Check every row against its audio: a line for each fault or doubt. Exit code 1 if there is a fault."""
    from turngap.cli import corpus as command

    raise typer.Exit(command.check(name, as_json=as_json))


@corpus.command("show")
def _show(
    name: Annotated[str, typer.Argument(metavar="CORPUS", help=CORPUS)],
    as_json: Annotated[bool, typer.Option("--json", help=JSON)] = False,
) -> None:
    """Show what a corpus has: turns, speakers, minutes, pauses by length, licences."""
    from turngap.cli import corpus as command

    command.show(name, as_json=as_json)


@corpus.command("convert")
def _convert(
    recordings: Annotated[list[Path], typer.Argument(metavar="AUDIO...", help="WAV or FLAC recordings.")],
    out: Annotated[Path, typer.Option(help="The folder to make, with the table and the audio.")],
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            help="Label file: Audacity .txt, .TextGrid, .rttm, .ctm, .stm, .csv, .json or AMI .xml; repeatable. "
            "[default: the one with the recording's name beside it]"
        ),
    ] = None,
    turn_gap_ms: Annotated[
        float, typer.Option("--turn-gap-ms", min=0, help="A silence longer than this ends a turn.")
    ] = 1500.0,
    uncertainty_ms: Annotated[
        float, typer.Option("--uncertainty-ms", min=0, max=10_000, help="How exact the labelled ends are, either way.")
    ] = 50.0,
    channel: Annotated[
        int | None, typer.Option(min=0, help="The recording's channel, from 0, where labels name none. [default: 0]")
    ] = None,
    speaker: Annotated[str | None, typer.Option(help="Only this speaker's turns.")] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="The labels are an aligner's or a recogniser's, not a person's.")
    ] = False,
    separate_speakers: Annotated[
        bool,
        typer.Option("--separate-speakers", help="Speakers of different recordings are different people, as in calls."),
    ] = False,
    licence: Annotated[str, typer.Option(help="The recordings' licence.")] = "",
    source: Annotated[str, typer.Option(help="Where they come from, as it is to be cited.")] = "",
) -> None:
    """Make a corpus of recordings and their label files."""
    from turngap.cli import corpus as command
    from turngap.corpora.conversion import ConversionSettings

    settings = ConversionSettings(
        turn_gap_ms=turn_gap_ms,
        uncertainty_ms=uncertainty_ms,
        channel=channel,
        speaker=speaker,
        licence=licence,
        source=source,
        label_source="aligned" if aligned else "hand",
        separate_speakers=separate_speakers,
    )
    print(command.convert(recordings, labels or (), out, settings))
