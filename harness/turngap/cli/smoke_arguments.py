"""The command line of `turngap smoke`; what it needs is imported when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from turngap_agent.errors import UsageError


def smoke(
    to: Annotated[str | None, typer.Option(help="Any agent's number, measured from the caller's leg alone.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Calls from it. [default: TURNGAP_CALLER_NUMBER]")] = None,
    confirm: Annotated[str | None, typer.Option(help="The number that is dialled, once more.")] = None,
    public_url: Annotated[str | None, typer.Option(help="https URL that is forwarded to this process.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Where this process listens. [default: 8765; --fake: free]", min=1, max=65535)
    ] = None,
    host: Annotated[str, typer.Option(help="The address it listens at.")] = "127.0.0.1",
    allow: Annotated[Path | None, typer.Option(help="Allow-list: a file with one number a line.")] = None,
    profile: Annotated[str | None, typer.Option(help="Agent at the other end of the loop. [default: cpu]")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change the profile: section.key=value.")] = None,
    scenario: Annotated[str | None, typer.Option(help="What is said. [default: smoke]")] = None,
    turns: Annotated[int, typer.Option(help="Turns over all calls.")] = 3,
    calls: Annotated[int, typer.Option(help="Calls they are dealt to.")] = 1,
    echo: Annotated[bool, typer.Option("--echo", help="One more call, to an echo: the loop's floor.")] = False,
    record: Annotated[bool, typer.Option("--record", help="Twilio's recording as a witness; deleted there.")] = False,
    voicemail_check: Annotated[bool, typer.Option(help="With --to: end the call when a machine answers.")] = True,
    price_per_minute: Annotated[float, typer.Option(help="USD a minute, all legs of a call; assumed.")] = 0.10,
    max_cost: Annotated[float, typer.Option(help="Place nothing that may cost more USD.")] = 1.0,
    in_ci: Annotated[bool, typer.Option("--in-ci", help="In CI; TURNGAP_LIVE_IN_CI=true is needed too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="All but the network.")] = False,
    seed: Annotated[int, typer.Option(help="Order of the turns, and what else is random.", min=0)] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder for run folders. [default: results]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the medians as JSON, and nothing else there.")] = False,
    fake: Annotated[bool, typer.Option("--fake", help="Against a fake Twilio here: no telephone rings.")] = False,
    uplink_ms: Annotated[float, typer.Option(help="The fake's delay, caller to agent.")] = 0.0,
    downlink_ms: Annotated[float, typer.Option(help="The fake's delay, agent to caller.")] = 0.0,
    agent_ms: Annotated[float, typer.Option(help="Delay of the fake's own agent.")] = 300.0,
    jitter_ms: Annotated[float, typer.Option(help="The fake's jitter, both ways.")] = 0.0,
    loss: Annotated[float, typer.Option(help="Share of frames the fake loses, both ways.")] = 0.0,
    network: Annotated[str | None, typer.Option(help="The fake's network: a name or a .yaml file.")] = None,
    fake_does: Annotated[
        str,
        typer.Option(help="What becomes of the fake's calls: answered, busy, ended, dropped and more; docs/live.md."),
    ] = "answered",
) -> None:
    """Place a real telephone call over Twilio and measure it on one clock; docs/live.md."""
    try:
        from turngap.cli import smoke
        from turngap.live.smoke_plan import SmokeOptions
    except ModuleNotFoundError as missing:
        remedy = "pip install 'turngap[live]', or '.[live]' in a clone"
        raise UsageError(f"turngap smoke needs the extra `live` ({missing.name} is missing); run: {remedy}") from None

    asked = SmokeOptions(
        to, from_, confirm, public_url, host, port, allow, profile, tuple(set_ or ()), scenario, turns, calls, echo,
        record, voicemail_check, price_per_minute, max_cost, in_ci, seed, out or Path("results"), fake, uplink_ms,
        downlink_ms, jitter_ms, loss, network, agent_ms, fake_does,
    )  # fmt: skip
    raise typer.Exit(smoke.run(asked, as_json=as_json, dry=dry_run))
