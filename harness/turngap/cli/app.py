"""The command `turngap`: its commands and their options. `serve`, `weights` and `say` are passed on to the agent.

Exit codes: 0 PASS or MEASURED, 1 FAIL or NOT SHOWN, 2 INVALID (or no verdict at all), 3 usage. An error is one line on
stderr.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from turngap_agent import command_line
from turngap_agent.errors import UsageError, write_error

from turngap.cli.corpus_commands import corpus
from turngap.cli.smoke_arguments import smoke

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
USAGE, INVALID = 3, 2
RESULTS = "results"
RUN = "A run: its folder, or its id under results/."
REPORT = "reports/RUN.html for a run in results/, report.html in the folder of any other"
OUT = f"Folder in which the run's folder is made. [default: results] The report: {REPORT}."


@app.callback(invoke_without_command=True)
def _turngap(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Measure how long callers wait for a phone voice agent to answer, and why."""
    if version:
        print(f"turngap {_version()}")
        raise typer.Exit


@app.command("run")
def _run(
    scenario: Annotated[list[str] | None, typer.Argument(help="Scenario files, or names of those that ship.")] = None,
    profile: Annotated[str | None, typer.Option(help="Agent to start: a name or a .yaml file. [default: cpu]")] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Measure an agent that runs already, ws://HOST:PORT/PATH, or http:// its webhook."),
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
        requests = [api.resume_request(resume, otlp_port=otlp_port)]
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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print sweep.json on stdout, and nothing else there.")
    ] = False,
) -> None:
    """Measure several settings of an agent, interleaved, and draw turn gap against false cut-offs."""
    from turngap import api
    from turngap.cli import sweep as command

    def measure() -> api.Sweep:
        if resume is not None:
            return api.resume_sweep(resume, progress=True)
        return api.sweep(
            scenario or api.DEFAULT_SCENARIO,
            set=set_ or (),
            steps=grid,
            profile=profile,
            turns=turns,
            seed=seed,
            out=out or RESULTS,
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


app.command("smoke")(smoke)
app.add_typer(corpus, name="corpus")


@app.command("report")
def _report(
    run: Annotated[str, typer.Argument(help=f"{RUN} Or a sweep.")],
    out: Annotated[Path | None, typer.Option(help=f"The HTML file. [default: {REPORT}]")] = None,
    baseline: Annotated[str | None, typer.Option(help="Compare it with this run: its folder, or its id.")] = None,
) -> None:
    """Re-render the report of a run or a sweep. Unfinished runs are rendered with the turns they have."""
    from turngap import api

    path = api.find_run(run)
    if not api.is_sweep(path):
        print(api.load(path).report(out, baseline=baseline))
    elif baseline is not None:
        raise UsageError("--baseline: a sweep's settings are compared with one another; give a run")
    else:
        print(api.load_sweep(path).report(out))


@app.command("compare")
def _compare(
    head: Annotated[str, typer.Argument(help=RUN)],
    base: Annotated[str, typer.Argument(help="The run to compare it with: its folder, or its id.")],
    fail_on_worse: Annotated[
        bool, typer.Option("--fail-on-worse", help="Exit code 1 if anything became slower or worse.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Compare two runs: centre, tail and outcomes, what became slower or worse, and in which stage."""
    from turngap.cli import compare
    from turngap.progress import PipeConsole

    change = compare.run(head, base, as_json=as_json, console=PipeConsole())
    raise typer.Exit(int(fail_on_worse and change.is_worse))


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


@app.command("label")
def _label(
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


@app.command("export")
def _export(
    run: Annotated[str, typer.Argument(help=RUN)],
    format_: Annotated[
        str, typer.Option("--format", help="csv, parquet: the turns; perfetto: the traces; junit, markdown: for CI.")
    ],
    out: Annotated[Path | None, typer.Option(help="The file to write. [default: stdout]")] = None,
) -> None:
    """Convert a run for other tools: its turns as CSV or Parquet, a Perfetto trace, JUnit XML, a page of Markdown."""
    from turngap import api, export

    content = export.export_bytes(api.find_run(run), format_)
    if out is None:
        if format_ == "parquet" and sys.stdout.isatty():
            raise UsageError("--format parquet: no text for a terminal; add --out FILE")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        out.write_bytes(content)
    except OSError as error:
        raise write_error(f"{out}: cannot be written", error) from None


@app.command("recording")
def _recording(
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


@app.command("chaos")
def _chaos(
    profile: Annotated[str, typer.Option(help="Agent to start: a name or a .yaml file.")] = "scripted",
    seed: Annotated[int, typer.Option(help="Decides the order, and with --calls which faults.", min=0)] = 1,
    calls: Annotated[int | None, typer.Option(help="Inject so many faults, instead of all.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only these: stt, raise, stt/raise/first-word, kill ...; repeatable.")
    ] = None,
    agents: Annotated[int, typer.Option(help="Agents at the same time, each with one fault at a time.")] = 1,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change the profile: section.key=value.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON, and nothing else there.")] = False,
) -> None:
    """Break each stage of an agent on purpose, over real calls, and print what its callers heard."""
    from turngap_agent import profile as profiles

    from turngap.chaos.plan import plan_chaos
    from turngap.cli import chaos as command

    chosen = profiles.load(profile, tuple(set_ or ()))
    plan = plan_chaos(chosen, only=only or (), seed=seed, calls=calls, agents=agents)
    raise typer.Exit(command.run(plan, as_json=as_json))


@app.command("talk")
def _talk(
    profile: Annotated[str | None, typer.Option(help="Agent to start: a name or a .yaml file. [default: cpu]")] = None,
    url: Annotated[str | None, typer.Option(help="Talk to an agent that is running, ws://HOST:PORT/PATH.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change the profile: section.key=value.")] = None,
    input_device: Annotated[str | None, typer.Option(help="Microphone: a number, or a part of its name.")] = None,
    output_device: Annotated[str | None, typer.Option(help="Loudspeaker: a number, or a part of its name.")] = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="List the sound devices and exit.")] = False,
    in_: Annotated[Path | None, typer.Option("--in", help="Use this file instead of the microphone.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write what would be heard; needs --in.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the turns as JSON, and nothing else there.")] = False,
) -> None:
    """Talk to the agent with this computer's microphone and loudspeaker; prints gap and stages of each turn."""
    from turngap.cli import talk as command

    if list_devices:
        command.print_devices()
        return
    options = command.TalkOptions(profile, tuple(set_ or ()), url, input_device, output_device, in_, out, as_json)
    raise typer.Exit(command.run(options))


@app.command("stage")
def _stage(
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

    options = command.StageOptions(
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


@app.command("serve", context_settings=_PASSED_ON, help="Run the agent itself: turngap serve --help")
def _serve(context: typer.Context) -> None:
    _become_agent_command("serve", context.args)


@app.command("weights", context_settings=_PASSED_ON, help="List, fetch and verify models: turngap weights --help")
def _weights(context: typer.Context) -> None:
    _become_agent_command("weights", context.args)


@app.command("say", context_settings=_PASSED_ON, help="Speak a text into a WAV file: turngap say --help")
def _say(context: typer.Context) -> None:
    _become_agent_command("say", context.args)


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


def _version() -> str:
    try:
        return importlib.metadata.version("turngap")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _become_agent_command(name: str, arguments: list[str]) -> NoReturn:
    """Replace this process by the agent's command: engines never share an interpreter with the instrument."""
    from turngap.processes import child

    sys.stdout.flush()
    command = child.python_command("turngap_agent", name, *arguments)
    os.execve(command[0], command, dict(os.environ) | {"TURNGAP_COMMAND": "turngap"})
