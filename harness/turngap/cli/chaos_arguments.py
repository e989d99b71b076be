"""The command line of `turngap chaos`; what places calls is imported only when the command runs."""

from __future__ import annotations

from typing import Annotated

import typer


def chaos(
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
