"""The command line of `turngap talk`; what opens sound devices is imported only when the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def talk(
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
