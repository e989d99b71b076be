"""`python -m turngap_agent`: the commands that need engines or weights; each imports its module when it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from turngap_agent.command_line import execute, print_error
from turngap_agent.errors import EngineError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Run the agent, and fetch its models.",
)
weights_app = typer.Typer(rich_markup_mode=None, help="List, fetch and verify the pinned model weights.")
app.add_typer(weights_app, name="weights")

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command("serve")
def _serve(
    profile: Annotated[str, typer.Option(help="A profile that ships, or a .yaml file.")] = "cpu",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: a free one.")] = 8080,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change the profile: section.key=value.")] = None,
    inject: Annotated[list[str] | None, typer.Option(help="Delay a stage, for tests: STAGE=MS.")] = None,
    inject_faults: Annotated[
        bool, typer.Option("--inject-faults", help="For tests: callers on this machine may ask for faults.")
    ] = False,
    live_spans: Annotated[
        bool, typer.Option("--live-spans", help="Send spans after each turn instead of after each call.")
    ] = False,
    sample_stacks: Annotated[
        bool,
        typer.Option("--sample-stacks", help="Record what the threads do, into the folder in TURNGAP_OUTPUT_FOLDER."),
    ] = False,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Listen on a public address without TWILIO_AUTH_TOKEN: anyone may call.")
    ] = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log one JSON object a line.")] = False,
    log_transcripts: Annotated[
        bool, typer.Option("--log-transcripts", help="Log what callers and agent say; otherwise no words are logged.")
    ] = False,
) -> None:
    """Load a profile's engines and answer calls until SIGTERM."""
    from turngap_agent.server import serve

    raise typer.Exit(
        serve.run(
            profile,
            host=host,
            port=port,
            overrides=set_ or (),
            inject=inject or (),
            inject_faults=inject_faults,
            live_spans=live_spans,
            sample_stacks=sample_stacks,
            unsigned=unsigned,
            log_json=log_json,
            log_transcripts=log_transcripts,
        )
    )


@weights_app.command("list")
def _list(as_json: _Json = False) -> None:
    """List the pinned models: version, size, licence, source, cached or not."""
    from turngap_agent.weights import command

    raise typer.Exit(command.show_list(as_json=as_json))


@weights_app.command("pull")
def _pull(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="PROFILE|NAME", help="[default: what the profiles that ship use, except what the hub has]"
        ),
    ] = None,
    here: Annotated[bool, typer.Option("--here", help="Fetch nothing if this machine cannot run the profile.")] = False,
    as_json: _Json = False,
) -> None:
    """Fetch what is missing or damaged."""
    from turngap_agent.weights import command

    raise typer.Exit(command.pull(what, here=here, as_json=as_json))


@weights_app.command("verify")
def _verify(as_json: _Json = False) -> None:
    """Read every cached byte and compare it with the pins."""
    from turngap_agent.weights import command

    raise typer.Exit(command.verify(as_json=as_json))


@weights_app.command("path")
def _path(name: Annotated[str, typer.Argument(metavar="NAME")], as_json: _Json = False) -> None:
    """Print the file or folder of one entry; it is fetched if it is missing."""
    from turngap_agent.weights import command

    raise typer.Exit(command.show_path(name, as_json=as_json))


@app.command("readiness")
def _readiness(
    profile: Annotated[str, typer.Argument(metavar="PROFILE")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change the profile: section.key=value.")] = None,
) -> None:
    """Print as JSON what a profile needs of this machine and what is missing; nothing is loaded or fetched."""
    from turngap_agent import readiness

    raise typer.Exit(readiness.print_readiness(profile, tuple(set_ or ())))


@app.command("say")
def _say(
    text: Annotated[list[str], typer.Argument(metavar="TEXT", help="The words.")],
    out: Annotated[Path, typer.Option(metavar="FILE.wav", help="The file to write.")],
    speech_only: Annotated[
        bool, typer.Option("--speech-only", help="Write no silence (0.3 s before, 0.6 s after the speech).")
    ] = False,
) -> None:
    """Speak a text into a WAV file (24 kHz, the caller's synthetic voice)."""
    from turngap_agent import say

    raise typer.Exit(say.run(" ".join(text), out, speech_only=speech_only))


@app.command("stage", hidden=True)
def _stage(
    stage: Annotated[str, typer.Argument(help="vad, turn, stt, llm or tts.")],
    profile: Annotated[str, typer.Option(help="A profile that ships, or a .yaml file.")] = "cpu",
    repeats: Annotated[int, typer.Option(help="Units to measure.")] = 20,
    cadence: Annotated[str | None, typer.Option(help="Seconds from unit to unit: 6 or 5-8.")] = None,
    busy: Annotated[bool, typer.Option("--busy", help="Units back to back.")] = False,
    beside: Annotated[str | None, typer.Option(help="Engines at work meanwhile: llm,tts.")] = None,
    place: Annotated[str, typer.Option("--in", help="Where they work: thread, process or mps.")] = "thread",
    floor: Annotated[
        bool, typer.Option("--floor/--no-floor", help="Measure the machine, and compute the floor.")
    ] = True,
    check: Annotated[bool, typer.Option("--check", help="Check the options, and do nothing.")] = False,
) -> None:
    """Measure one engine on the inputs at stdin, and print a JSON document; `turngap stage` starts it."""
    from turngap_agent.stage import command

    options = command.make_options(
        stage,
        profile,
        repeats=repeats,
        cadence=cadence,
        busy=busy,
        beside=beside,
        place=place,
        with_floor=floor,
    )
    raise typer.Exit(0 if check else command.run(options))


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code of the process."""
    name = os.environ.get("TURNGAP_COMMAND", "python -m turngap_agent")
    try:
        return execute(app, sys.argv[1:] if arguments is None else arguments, name)
    except ModuleNotFoundError as error:
        missing = f"{error.name} is not installed: the agent needs its extra, pip install 'turngap[cpu]'"
        return print_error(missing, EngineError.exit_code)


if __name__ == "__main__":
    sys.exit(main())
