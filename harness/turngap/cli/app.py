"""The command `turngap`: run, sweep, calibrate, report, compare, export, label, talk; what the agent has is handed on.

Exit codes: 0 PASS or MEASURED, 1 FAIL, 2 INVALID (or no verdict at all), 3 usage. A fault is one line on stderr.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from turngap_agent.errors import TurngapError, UsageError, format_error, write_error

from turngap.cli.smoke_arguments import smoke
from turngap.processes import child, environment

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

_HANDED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]  # typer's own copy of it, or click's: by version
USAGE, INVALID = 3, 2
_TYPERS_INTERRUPT = 130


@app.callback(invoke_without_command=True)
def _turngap(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Measure how long callers wait for a phone voice agent to answer, and why."""
    if version:
        print(f"turngap {environment.version('turngap') or '(not installed)'}")
        raise typer.Exit


@app.command("run")
def _run(
    scenario: Annotated[list[str] | None, typer.Argument(help="Scenario files, or names of those that ship.")] = None,
    profile: Annotated[str | None, typer.Option(help="Agent to start: a name or a .yaml file. [default: cpu]")] = None,
    url: Annotated[str | None, typer.Option(help="Measure an agent that runs already, ws://HOST:PORT/PATH.")] = None,
    turns: Annotated[int | None, typer.Option(help="Turns to score, in place of the whole scenario.")] = None,
    seed: Annotated[int | None, typer.Option(help="Order of the calls, in place of the scenario's own.", min=0)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for run folders. [default: results]")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change the profile: section.key=value.")] = None,
    budget: Annotated[str | None, typer.Option(help="Judge by a budget: sub500, edge500 or a .yaml file.")] = None,
    network: Annotated[
        list[str] | None, typer.Option(help="Put a network in between: clean, jitter20, ..., a .yaml file; repeatable.")
    ] = None,
    inject: Annotated[list[str] | None, typer.Option(help="Delay a stage of the agent: STAGE=MS.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Complete the unfinished run in this folder.")] = None,
    otlp_port: Annotated[int, typer.Option(help="Port for the agent's spans; 0: a free one.", min=0, max=65535)] = 0,
    agent_nice: Annotated[int, typer.Option(help="Niceness of the agent's process.", min=0, max=19)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print run.json on stdout, and nothing else there.")] = False,
) -> None:
    """Place the calls of a scenario and measure every turn."""
    from turngap.cli import run as command
    from turngap.session import plan

    options = plan.Options(seed, turns, out or Path("results"), tuple(inject or ()), otlp_port, agent_nice)
    if resume is not None:
        given = (scenario, profile, url, turns, seed, out, set_, budget, network)
        if any(value is not None and value != [] for value in given):
            raise UsageError("--resume takes everything from the run's folder: give it alone")
        requests = [plan.resume(resume, options)]
    else:
        requests = [
            plan.make(
                name,
                profile=profile,
                overrides=tuple(set_ or ()),
                url=url,
                budget=budget,
                networks=tuple(network or ()),
                options=options,
            )
            for name in scenario or [plan.DEFAULT_SCENARIO]
        ]
    raise typer.Exit(command.run_all(requests, as_json=as_json))


@app.command("sweep")
def _sweep(
    scenario: Annotated[str | None, typer.Argument(help="Scenario file, or the name of one that ships.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Values to try: section.key=value,value.")] = None,
    grid: Annotated[Path | None, typer.Option(help="A .yaml file of named steps, in place of --set.")] = None,
    profile: Annotated[str | None, typer.Option(help="Agent to start: a name or a .yaml file. [default: cpu]")] = None,
    turns: Annotated[int | None, typer.Option(help="Turns to score for each setting.")] = None,
    seed: Annotated[int | None, typer.Option(help="Order of the calls, in place of the scenario's own.", min=0)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the sweep's folder. [default: results]")] = None,
    resume: Annotated[Path | None, typer.Option(help="Complete the unfinished sweep in this folder.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print sweep.json on stdout, and nothing else there.")
    ] = False,
) -> None:
    """Measure several settings of an agent, interleaved, and draw turn gap against false cut-offs."""
    from turngap.cli import sweep as command

    given = (scenario, set_, grid, profile, turns, seed, out)
    if resume is not None and any(value is not None and value != [] for value in given):
        raise UsageError("--resume takes everything from the sweep's folder: give it alone")
    raise typer.Exit(
        command.resume(resume, as_json=as_json)
        if resume is not None
        else command.run(
            scenario, tuple(set_ or ()), grid, profile=profile, turns=turns, seed=seed, out=out, as_json=as_json
        )
    )


@app.command("calibrate")
def _calibrate(
    delays: Annotated[str, typer.Option(help="Known delays, ms, with commas between them.")] = "150,300,800",
    turns: Annotated[int, typer.Option(help="Turns for each delay.")] = 25,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Measure an agent whose delay is known: what differs is the instrument's own error on this machine."""
    from turngap.cli import calibrate

    raise typer.Exit(calibrate.run(calibrate.parse_delays(delays), turns, as_json=as_json))


app.command("smoke")(smoke)


@app.command("report")
def _report(
    run: Annotated[Path, typer.Argument(help="A run's folder, results/<run-id>, or a sweep's.")],
    out: Annotated[Path | None, typer.Option(help="The HTML file. [default: reports/<run-id>.html]")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Compare it with this run: its folder, or its id under results/.")
    ] = None,
) -> None:
    """Render a run's or a sweep's report from its folder, beside earlier runs; of an unfinished one, what there is."""
    from turngap.cli import compare, sweep
    from turngap.cli import run as command

    if not sweep.is_sweep(run):
        print(command.report_again(run, out, compare.found(baseline) if baseline is not None else None))
    elif baseline is not None:
        raise UsageError("--baseline: a sweep's settings are compared with one another; give a run")
    else:
        print(sweep.report_again(run, out))


@app.command("compare")
def _compare(
    head: Annotated[str, typer.Argument(help="A run: its folder, or its id under results/.")],
    base: Annotated[str, typer.Argument(help="The run it is compared with.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Compare two runs: what became slower or faster, the turn gap and each stage's part of it."""
    from turngap.cli import compare

    compare.show(head, base, as_json=as_json, console=Console())


@app.command("label")
def _label(
    recording: Annotated[Path, typer.Argument(help="A WAV or FLAC file.")],
    plot: Annotated[Path | None, typer.Option(help="Draw waveform, level and label: a .png or .svg file.")] = None,
    listen: Annotated[Path | None, typer.Option(help="Write a .wav file: what is kept, 1 s, what is cut.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Label a recording as a scenario does: where its speech ends, and whether that is firm. Exit 1 where it is not."""
    from turngap.cli import label as command

    raise typer.Exit(command.run(recording, plot=plot, listen=listen, as_json=as_json))


@app.command("export")
def _export(
    run: Annotated[Path, typer.Argument(help="A run's folder, results/<run-id>.")],
    format_: Annotated[str, typer.Option("--format", help="csv: the turns; perfetto: the traces.")],
    out: Annotated[Path | None, typer.Option(help="The file to write. [default: stdout]")] = None,
) -> None:
    """Write a run in a form that other tools read."""
    from turngap import export

    text = export.export_run(run, format_)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        out.write_text(text, "utf-8")
    except OSError as fault:
        raise write_error(f"{out}: cannot be written", fault) from None


@app.command("talk")
def _talk(
    profile: Annotated[str | None, typer.Option(help="Agent to start: a name or a .yaml file. [default: cpu]")] = None,
    url: Annotated[str | None, typer.Option(help="Talk to an agent that runs already, ws://HOST:PORT/PATH.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change the profile: section.key=value.")] = None,
    input_device: Annotated[str | None, typer.Option(help="Microphone: a number, or a part of its name.")] = None,
    output_device: Annotated[str | None, typer.Option(help="Loudspeaker: a number, or a part of its name.")] = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="List the sound devices and exit.")] = False,
    in_: Annotated[Path | None, typer.Option("--in", help="Say this file in place of a microphone.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write what would be heard; goes with --in.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the turns as JSON, and nothing else there.")] = False,
) -> None:
    """Talk to the agent by this computer's microphone and loudspeaker; gap and stages after each turn."""
    from turngap.cli import talk as command

    if list_devices:
        command.list_devices()
        return
    ask = command.Ask(profile, tuple(set_ or ()), url, input_device, output_device, in_, out, as_json)
    raise typer.Exit(command.run(ask))


@app.command("serve", context_settings=_HANDED_ON, help="Run the agent itself: turngap serve --help")
def _serve(context: typer.Context) -> None:
    _hand_on("serve", context.args)


@app.command("weights", context_settings=_HANDED_ON, help="List, fetch and verify models: turngap weights --help")
def _weights(context: typer.Context) -> None:
    _hand_on("weights", context.args)


@app.command("say", context_settings=_HANDED_ON, help="Speak a text into a WAV file: turngap say --help")
def _say(context: typer.Context) -> None:
    _hand_on("say", context.args)


def main(arguments: list[str] | None = None) -> NoReturn:
    """The console command: runs it and exits."""
    sys.exit(execute(sys.argv[1:] if arguments is None else arguments))


def execute(arguments: list[str]) -> int:
    """Run one command line; gives the exit code, a fault being one line on stderr."""
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="turngap", standalone_mode=False)
    except TurngapError as fault:
        return _complain(str(fault), fault.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", INVALID)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _ClickException as fault:
        shown = fault.format_message() if hasattr(fault, "format_message") else str(fault)
        context = getattr(fault, "ctx", None)
        if not shown or shown.lstrip().startswith("Usage:"):  # no command was given
            print(shown or "", end="")
            return USAGE
        path = context.command_path if context is not None else "turngap"
        return _complain(f"{' '.join(shown.split())} See: {path} --help", USAGE)
    if code == _TYPERS_INTERRUPT:
        return _complain("interrupted", INVALID)
    return code if isinstance(code, int) else 0


def _complain(text: str, code: int) -> int:
    Console(stderr=True).print(format_error(text), highlight=False, markup=False, soft_wrap=True)
    return code


def _hand_on(name: str, arguments: list[str]) -> NoReturn:
    """Become the agent's own command: engines never share an interpreter with the instrument."""
    sys.stdout.flush()
    command = child.python("turngap_agent", name, *arguments)
    os.execve(command[0], command, dict(os.environ) | {"TURNGAP_COMMAND": "turngap"})
