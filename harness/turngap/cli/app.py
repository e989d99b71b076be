"""The command `turngap`: its commands and their options. `serve`, `weights` and `say` are passed on to the agent.

Exit codes: 0 PASS or MEASURED, 1 FAIL or NOT SHOWN, 2 INVALID (or no verdict at all), 3 usage. An error is one line on
stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from turngap_agent import command_line
from turngap_agent.errors import UsageError

from turngap.cli.agent_commands import become_agent_command
from turngap.cli.capacity_arguments import capacity
from turngap.cli.chaos_arguments import chaos
from turngap.cli.corpus_commands import corpus
from turngap.cli.export_arguments import export
from turngap.cli.label_arguments import label
from turngap.cli.option_texts import OUT, RAY, RAY_JOBS, RESULTS
from turngap.cli.recording_arguments import recording
from turngap.cli.report_arguments import compare, report
from turngap.cli.smoke_arguments import smoke
from turngap.cli.stage_arguments import stage
from turngap.cli.talk_arguments import talk
from turngap.version import read_version

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
USAGE, INVALID = 3, 2


@app.callback(invoke_without_command=True)
def _turngap(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Measure how long callers wait for a phone voice agent to answer, and why."""
    if version:
        print(f"turngap {read_version()}")
        raise typer.Exit


@app.command("run")
def _run(
    scenario: Annotated[list[str] | None, typer.Argument(help="Scenario files, or names of those that ship.")] = None,
    profile: Annotated[str | None, typer.Option(help="Agent to start: a name or a .yaml file. [default: cpu]")] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Measure an agent that runs: ws://HOST:PORT/PATH, http:// its webhook, or sip:USER@HOST."),
    ] = None,
    dialect: Annotated[
        str | None,
        typer.Option(
            help="What the agent at --url speaks: twilio, telnyx, plivo, vonage, vonage-8khz. [default: twilio]"
        ),
    ] = None,
    turns: Annotated[int | None, typer.Option(help="Turns to score, instead of the whole scenario.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Order of the calls, instead of the scenario's own; without a budget.", min=0)
    ] = None,
    out: Annotated[Path | None, typer.Option(help=OUT)] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change the profile: section.key=value.")] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Judge the run by a budget: sub500, edge500, edge500-audio (needs no spans) or a .yaml file."
        ),
    ] = None,
    all_turns: Annotated[
        bool, typer.Option("--all-turns", help="With a budget: call all turns, even once the verdict is decided.")
    ] = False,
    network: Annotated[
        list[str] | None, typer.Option(help="Simulate a network: clean, jitter20, ... or a .yaml file; repeatable.")
    ] = None,
    inject: Annotated[list[str] | None, typer.Option(help="Delay a stage of the agent: STAGE=MS.")] = None,
    resume: Annotated[str | None, typer.Option(help="Resume this interrupted run: its folder, or its id.")] = None,
    otlp_port: Annotated[int, typer.Option(help="Port for the agent's spans; 0: a free one.", min=0, max=65535)] = 0,
    spans: Annotated[
        str | None,
        typer.Option(
            help="What the spans of an agent at a --url mean: pipecat, livekit, or a mapping in a .yaml file."
        ),
    ] = None,
    agent_nice: Annotated[int, typer.Option(help="Niceness of the agent's process.", min=0, max=19)] = 0,
    trace_worst: Annotated[
        int, typer.Option(metavar="N", help="Write traces of the N slowest turns (3, say), for ui.perfetto.dev.", min=0)
    ] = 0,
    ray: Annotated[str | None, typer.Option(help=RAY)] = None,
    stages: Annotated[
        bool, typer.Option("--stages", help="After the calls, measure the engines alone, for floors in the report.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print run.json on stdout, and nothing else there.")] = False,
) -> None:
    """Place the calls of a scenario and measure every turn."""
    from turngap import api
    from turngap.cli import run as command

    if resume is not None:
        flags = (all_turns or None, agent_nice or None, spans, trace_worst or None)
        _refuse_beside_resume(
            "run", (scenario, profile, url, dialect, turns, seed, out, set_, budget, network, inject, *flags)
        )
        requests = [api.resume_request(resume, otlp_port=otlp_port, ray=ray or "")]
    else:
        agent = api.Agent(
            source=profile,
            overrides=tuple(set_ or ()),
            address=url,
            dialect=dialect,
            inject=tuple(inject or ()),
            nice=agent_nice,
            otlp_port=otlp_port,
            spans=spans,
        )
        requests = [
            api.make_request(
                name,
                agent=agent,
                budget=budget,
                turns=turns,
                networks=network or (),
                seed=seed,
                out=out or RESULTS,
                all_turns=all_turns,
                trace_worst=trace_worst,
                ray=ray or "",
            )
            for name in scenario or [api.DEFAULT_SCENARIO]
        ]
    raise typer.Exit(command.run_all(requests, as_json=as_json, stages=stages))


@app.command("sweep")
def _sweep(
    scenario: Annotated[str | None, typer.Argument(help="Scenario file, or the name of one that ships.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Values to try: section.key=value,value.")] = None,
    grid: Annotated[Path | None, typer.Option(help="A .yaml file of named steps, instead of --set.")] = None,
    profile: Annotated[str | None, typer.Option(help="Agent to start: a name or a .yaml file. [default: cpu]")] = None,
    turns: Annotated[int | None, typer.Option(help="Turns to score for each setting.")] = None,
    seed: Annotated[int | None, typer.Option(help="Order of the calls, instead of the scenario's own.", min=0)] = None,
    out: Annotated[Path | None, typer.Option(help=OUT)] = None,
    resume: Annotated[str | None, typer.Option(help="Resume this interrupted sweep: its folder, or its id.")] = None,
    ray: Annotated[str | None, typer.Option(help=RAY_JOBS)] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print sweep.json on stdout, and nothing else there.")
    ] = False,
) -> None:
    """Measure several settings of an agent, interleaved, and draw turn gap against false cut-offs."""
    from turngap import api
    from turngap.cli import sweep as command

    def measure() -> api.Sweep:
        if resume is not None:
            return api.resume_sweep(resume, ray=ray or "", progress=True)
        return api.sweep(
            scenario or api.DEFAULT_SCENARIO,
            set=set_ or (),
            steps=grid,
            profile=profile,
            turns=turns,
            seed=seed,
            out=out or RESULTS,
            ray=ray or "",
            progress=True,
        )

    if resume is not None:
        _refuse_beside_resume("sweep", (scenario, set_, grid, profile, turns, seed, out))
    raise typer.Exit(command.run(measure, as_json=as_json))


@app.command("calibrate")
def _calibrate(
    delays: Annotated[str, typer.Option(help="Delays of the agent in ms, separated by commas.")] = "150,300,800",
    turns: Annotated[int, typer.Option(help="Turns for each delay.")] = 25,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Measure the instrument's own error on this machine, with an agent whose delay is known."""
    from turngap.cli import calibrate

    raise typer.Exit(calibrate.run(calibrate.parse_delays(delays), turns, as_json=as_json))


@app.command("doctor")
def _doctor(
    profile: Annotated[str, typer.Option(help="The agent that is to run here: a name or a .yaml file.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Check what this machine can run and measure, with a remedy for each problem. Exit code 1 if there is one."""
    from turngap.cli import doctor

    raise typer.Exit(doctor.run(profile, as_json=as_json))


app.command("stage")(stage)
app.command("chaos")(chaos)
app.command("capacity")(capacity)
app.command("smoke")(smoke)
app.command("talk")(talk)
app.command("label")(label)
app.command("recording")(recording)
app.command("report")(report)
app.command("compare")(compare)
app.command("export")(export)
app.add_typer(corpus, name="corpus")


@app.command("history")
def _history(
    folder: Annotated[Path, typer.Argument(help="The folder of run folders.")] = Path(RESULTS),
    out: Annotated[
        Path | None, typer.Option(help="The HTML file. [default: reports/history.html, or history.html in FOLDER]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and write no page.")] = False,
) -> None:
    """Draw a folder of runs over time: medians and p95 with bounds, verdicts, builds, and where the level changed."""
    from turngap.cli import history

    raise typer.Exit(history.run(folder, out, as_json=as_json))


@app.command("serve", context_settings=_PASSED_ON, help="Run the agent itself: turngap serve --help")
def _serve(context: typer.Context) -> None:
    become_agent_command("serve", context.args)


@app.command("weights", context_settings=_PASSED_ON, help="List, fetch and verify models: turngap weights --help")
def _weights(context: typer.Context) -> None:
    become_agent_command("weights", context.args)


@app.command("say", context_settings=_PASSED_ON, help="Speak a text into a WAV file: turngap say --help")
def _say(context: typer.Context) -> None:
    become_agent_command("say", context.args)


def _refuse_beside_resume(command: str, others: Sequence[object]) -> None:
    if any(value is not None and value != [] for value in others):
        raise UsageError(f"--resume takes everything from the {command}'s folder: give it alone")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line of this process and exit."""
    sys.exit(execute(sys.argv[1:] if arguments is None else arguments))


def execute(arguments: list[str]) -> int:
    """Run one command line and return the exit code; an error is one line on stderr."""
    code = command_line.execute(app, arguments, "turngap")
    return command_line.print_error("interrupted", INVALID) if code == command_line.INTERRUPTED else code
