"""The command line of `turngap recording`; what reads audio is imported only when the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from turngap.cli.option_texts import OUT, RESULTS


def recording(
    recordings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECORDING...]",
            help="Two-channel audio (WAV, FLAC, MP3, Ogg), folders of it, or pairs CALLER.wav+AGENT.wav.",
        ),
    ] = None,
    caller: Annotated[
        str | None, typer.Option(help="The caller's channel: left or right. [default: left, if it speaks second]")
    ] = None,
    caller_file: Annotated[Path | None, typer.Option(help="The caller's side of a call, with --agent-file.")] = None,
    agent_file: Annotated[Path | None, typer.Option(help="The agent's side of it.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Hand labels of both speakers: a file, or a folder with one a recording.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Judge the turns by a budget: a name of one that ships, or a .yaml file.")
    ] = None,
    at_ear: Annotated[
        bool, typer.Option("--at-ear", help="Recorded at the caller's ear: no telephone network is added.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help=OUT)] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print run.json with each call's talk on stdout, and nothing else there.")
    ] = False,
) -> None:
    """Measure finished calls from their recordings; ends of speech are found there, not known."""
    from turngap.cli import recording as command
    from turngap.recordings.plan import plan_recordings

    plan = plan_recordings(
        recordings or (),
        caller=caller,
        caller_file=caller_file,
        agent_file=agent_file,
        labels=labels,
        budget=budget,
        at_ear=at_ear,
        out=out or Path(RESULTS),
    )
    raise typer.Exit(command.run(plan, as_json=as_json))
