"""The command line of `turngap stage`; what builds a corpus is imported only when the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def stage(
    stage: Annotated[str, typer.Argument(help="The engine to measure: vad, turn, stt, llm or tts.")],
    profile: Annotated[str, typer.Option(help="Whose engine: a name or a .yaml file.")] = "cpu",
    scenario: Annotated[str, typer.Option(help="Whose callers it hears: a name or a .yaml file.")] = "default",
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change the profile: section.key=value.")] = None,
    repeats: Annotated[int, typer.Option(help="Units of work to measure.", min=1)] = 20,
    cadence: Annotated[
        str | None, typer.Option(help="Seconds from the start of a unit to the next: 6 or 5-8. [default: 5-8]")
    ] = None,
    busy: Annotated[bool, typer.Option("--busy", help="Units back to back, without waits.")] = False,
    beside: Annotated[
        str | None, typer.Option(help="Measure it again with other engines of the profile at work: llm,tts.")
    ] = None,
    place: Annotated[
        str, typer.Option("--in", help="Where those work: thread (the same process), process, mps.")
    ] = "thread",
    floor: Annotated[
        bool, typer.Option("--floor/--no-floor", help="Measure this machine's rates, and say how far the engine is.")
    ] = True,
    trace: Annotated[
        Path | None, typer.Option(help="Write a trace of the engine alone, for ui.perfetto.dev: a .json file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Measure one engine of an agent alone: cold start, times, parts, memory, and the distance to what is possible."""
    from turngap.cli import stage as command

    options = command.StageRequest(
        stage=stage,
        profile=profile,
        scenario=scenario,
        overrides=tuple(set_ or ()),
        repeats=repeats,
        cadence=cadence,
        busy=busy,
        beside=beside,
        place=place,
        floor=floor,
        trace=trace,
    )
    raise typer.Exit(command.run(options, as_json=as_json))
