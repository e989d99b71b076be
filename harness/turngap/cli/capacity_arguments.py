"""The command line of `turngap capacity`; what places calls is imported only when the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from turngap_agent.errors import UsageError

from turngap.cli.option_texts import OUT, RAY, RESULTS


def capacity(
    scenario: Annotated[
        str | None, typer.Argument(help="Scenario file, or the name of one that ships. [default: gate]")
    ] = None,
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
    calls: Annotated[str | None, typer.Option(help="Calls at once to try, ascending. [default: 1,2,4,8]")] = None,
    rate: Annotated[str | None, typer.Option(help="Calls a second to try instead, ascending: 0.5,1,2.")] = None,
    search: Annotated[bool, typer.Option("--search", help="Find the most calls at once that hold --budget.")] = False,
    most: Annotated[int | None, typer.Option(help="The highest load of a --search. [default: 64]")] = None,
    shape: Annotated[
        str, typer.Option(help="How a load changes: steady, poisson, ramp, steps, spike, soak, cold, or a .yaml file.")
    ] = "steady",
    budget: Annotated[
        str | None, typer.Option(help="Judge each load by a budget: sub500, edge500, edge500-audio or a .yaml file.")
    ] = None,
    turns: Annotated[
        int | None, typer.Option(help="Turns at each load. [default: all with --budget, else 60 or more]")
    ] = None,
    go_on: Annotated[
        bool, typer.Option("--go-on", help="Try higher loads even after one that saturates the agent.")
    ] = False,
    callers: Annotated[
        int | None, typer.Option(help="Processes that place the calls. [default: one for each 100 calls at once]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Order and arrivals of the calls; without a budget.", min=0)] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change the profile: section.key=value.")] = None,
    spans: Annotated[
        str | None, typer.Option(help="What the spans of an agent at a --url mean: pipecat, livekit, or a .yaml file.")
    ] = None,
    otlp_port: Annotated[int, typer.Option(help="Port for the agent's spans; 0: a free one.", min=0, max=65535)] = 0,
    out: Annotated[Path | None, typer.Option(help=OUT)] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(metavar="CAPACITY", help="Measure nothing: show these capacity runs side by side; repeatable."),
    ] = None,
    ray: Annotated[str | None, typer.Option(help=RAY)] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print capacity.json on stdout, and nothing else there.")
    ] = False,
) -> None:
    """Find out how many calls an agent holds: open-loop loads, the knee, and the most calls that hold a budget."""
    from turngap.api import Agent
    from turngap.api.capacity import make_capacity_request
    from turngap.capacity.plan import SCENARIO
    from turngap.cli import capacity as command

    if compare is not None:
        given = (scenario, profile, url, dialect, calls, rate, most, budget, turns, callers, seed, set_, spans, ray)
        if any(value is not None for value in given) or search or go_on or otlp_port or shape != "steady":
            raise UsageError("--compare shows capacity runs that are there: give it alone, or with --out and --json")
        raise typer.Exit(command.compare(compare, out, as_json=as_json))
    request = make_capacity_request(
        scenario or SCENARIO,
        agent=Agent(
            source=profile, overrides=tuple(set_ or ()), address=url, dialect=dialect, otlp_port=otlp_port, spans=spans
        ),
        calls=calls,
        rate=rate,
        search=search,
        most=most,
        shape=shape,
        budget=budget,
        turns=turns,
        seed=seed,
        out=out or RESULTS,
        goes_on=go_on,
        callers=callers,
        ray=ray or "",
    )
    raise typer.Exit(command.run(request, as_json=as_json))
