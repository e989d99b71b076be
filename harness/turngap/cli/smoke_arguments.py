"""The command line of `turngap smoke`; the live package is imported only when the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from turngap_agent.errors import UsageError


def smoke(
    to: Annotated[str | None, typer.Option(help="Call another agent's number; only the caller's leg is here.")] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="The number to call from. [default: TURNGAP_CALLER_NUMBER]")
    ] = None,
    confirm: Annotated[str | None, typer.Option(help="Repeat the number to be dialled.")] = None,
    public_url: Annotated[str | None, typer.Option(help="https URL that is forwarded to this process.")] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port to listen on. [default: 8765; with --fake: a free port]", min=1, max=65535),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    allow: Annotated[Path | None, typer.Option(help="Allow-list: a file with one number per line.")] = None,
    profile: Annotated[str | None, typer.Option(help="Profile of the agent that answers. [default: cpu]")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change the profile: section.key=value.")] = None,
    scenario: Annotated[str | None, typer.Option(help="Scenario of the caller. [default: smoke]")] = None,
    turns: Annotated[int, typer.Option(help="Number of turns in all calls together.")] = 3,
    calls: Annotated[int, typer.Option(help="Number of calls to spread the turns over.")] = 1,
    echo: Annotated[
        bool, typer.Option("--echo", help="Also call an echo, to measure the loop's minimum latency.")
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Check the times against Twilio's recording, which is then deleted.")
    ] = False,
    voicemail_check: Annotated[bool, typer.Option(help="With --to: end the call when a machine answers.")] = True,
    price_per_minute: Annotated[float, typer.Option(help="Assumed price in USD, all legs of a call.")] = 0.10,
    max_cost: Annotated[float, typer.Option(help="Refuse a run that may cost more than this, in USD.")] = 1.0,
    in_ci: Annotated[
        bool, typer.Option("--in-ci", help="Allow calls from CI; needs TURNGAP_LIVE_IN_CI=true too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything that needs no network, then stop.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything that is random.", min=0)] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder for run folders. [default: results]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the medians as JSON on stdout.")] = False,
    fake: Annotated[
        bool, typer.Option("--fake", help="Use a fake Twilio on this machine; no telephone rings.")
    ] = False,
    uplink_ms: Annotated[float, typer.Option(help="Delay of the fake's line from caller to agent.")] = 0.0,
    downlink_ms: Annotated[float, typer.Option(help="Delay of the fake's line from agent to caller.")] = 0.0,
    agent_ms: Annotated[float, typer.Option(help="Delay of the fake's own agent.")] = 300.0,
    jitter_ms: Annotated[float, typer.Option(help="Jitter of the fake's line, both directions.")] = 0.0,
    loss: Annotated[float, typer.Option(help="Share of frames that the fake loses, both directions.")] = 0.0,
    network: Annotated[str | None, typer.Option(help="Network of the fake: a name or a .yaml file.")] = None,
    fake_does: Annotated[
        str,
        typer.Option(help="How the fake's calls end: answered, busy, ended, dropped and more; see docs/live.md."),
    ] = "answered",
) -> None:
    """Place a real telephone call over Twilio and measure it on one clock; see docs/live.md."""
    try:
        from turngap.cli import smoke
        from turngap.live.smoke_plan import SmokeOptions
    except ModuleNotFoundError as missing:
        remedy = "pip install 'turngap[live]', or '.[live]' in a clone"
        raise UsageError(f"turngap smoke needs the extra `live` ({missing.name} is missing); run: {remedy}") from None

    options = SmokeOptions(
        to, from_, confirm, public_url, host, port, allow, profile, tuple(set_ or ()), scenario, turns, calls, echo,
        record, voicemail_check, price_per_minute, max_cost, in_ci, seed, out or Path("results"), fake, uplink_ms,
        downlink_ms, jitter_ms, loss, network, agent_ms, fake_does,
    )  # fmt: skip
    raise typer.Exit(smoke.run_smoke(options, as_json=as_json, dry_run=dry_run))
