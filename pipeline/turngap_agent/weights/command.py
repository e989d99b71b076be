"""`python -m turngap_agent weights …`: list, fetch, verify and locate the pinned models."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from turngap_agent import fitness, profile, weights
from turngap_agent.errors import WeightsError
from turngap_agent.weights import pins
from turngap_agent.weights.pins import Pin
from turngap_agent.weights.sources.progress import megabytes


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `weights` with its own commands."""
    parser = subparsers.add_parser("weights", help="list, fetch and verify the pinned model weights")
    parser.set_defaults(run=run)
    commands = parser.add_subparsers(dest="weights_command", required=True)
    listing = commands.add_parser("list", help="list the pinned models: version, size, licence, source, cached or not")
    pull = commands.add_parser("pull", help="fetch what is missing or damaged")
    pull.add_argument(
        "what",
        nargs="?",
        metavar="PROFILE|NAME",
        help="default: what the shipped profiles use, except what the hub has",
    )
    pull.add_argument("--here", action="store_true", help="fetch nothing if this machine cannot run the profile")
    verify = commands.add_parser("verify", help="read every cached byte and compare it with the pins")
    path = commands.add_parser("path", help="print the file or folder of one entry, fetched if missing")
    path.add_argument("name", metavar="NAME")
    for command in (listing, pull, verify, path):
        command.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code.

    Raises:
        TurngapError: as `turngap_agent.weights`.
    """
    if args.weights_command == "list":
        return _list(args.json)
    if args.weights_command == "pull":
        if args.here and args.what and args.what not in pins.shipped():
            fitness.check(profile.load(args.what))
        return _pull(args.what, args.json)
    if args.weights_command == "verify":
        return _verify(args.json)
    entry = weights.get(args.name)
    print(json.dumps({"name": args.name, "path": str(entry)}) if args.json else entry)
    return 0


def _list(as_json: bool) -> int:
    statuses = weights.list_all()
    if as_json:
        print(json.dumps([_describe(status) for status in statuses], indent=1))
        return 0
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "version", "size", "licence", "source", "here", "profiles"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "size" else "left")
    for status in statuses:
        pin = status.pin
        here = "damaged" if status.problem and status.pin.source.kind != "installed" else _yes(status.cached)
        used = ", ".join(status.profiles) or ("(the caller)" if pin.source.kind == "debian" else "-")
        size = f"{'≈ ' if pin.by_revision else ''}{megabytes(pin.size)}"
        table.add_row(pin.name, pin.version, size, pin.licence, _source(pin), here, used)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return 0


def _pull(what: str | None, as_json: bool) -> int:
    """Fetch each; without a name, a voice that cannot be fetched is a note only: the caller has a synthetic one."""
    fetched, failed = {}, {}
    for pin in weights.selection(what):
        try:
            fetched[pin.name] = str(weights.pull(pin.name)[0])
        except WeightsError as error:
            if what is not None or pin.source.kind != "debian":
                raise
            failed[pin.name] = str(error)
            print(f"turngap: note: {error}", file=sys.stderr)
    if as_json:
        print(json.dumps({"paths": fetched, "unavailable": failed}))
    else:
        print(f"{len(fetched)} of {len(fetched) + len(failed)} in place: {', '.join(fetched)}")
    return 0


def _verify(as_json: bool) -> int:
    statuses = [status for status in weights.verify() if status.cached or status.problem]
    damaged = [status for status in statuses if status.problem]
    if as_json:
        print(json.dumps([_describe(status) for status in statuses], indent=1))
    else:
        if not statuses:
            print("nothing is cached yet: run `python -m turngap_agent weights pull`")
        for status in statuses:
            print(status.problem or f"{status.pin.name} {status.pin.version}: as pinned")
    return WeightsError.exit_code if damaged else 0


def _describe(status: weights.Status) -> dict[str, Any]:
    pin = status.pin
    return {
        "name": pin.name,
        "about": pin.about,
        "version": pin.version,
        "size": pin.size,
        "licence": pin.licence,
        "source": _source(pin, commit=True),
        "cached": status.cached,
        "problem": status.problem or None,
        "path": str(status.path),
        "profiles": list(status.profiles),
    }


def _source(pin: Pin, *, commit: bool = False) -> str:
    source = pin.source
    if source.kind == "hub":
        return f"hub {source.repo}" + (f"@{source.revision[:8]}" if commit else "")
    if source.kind == "debian":
        return f"Debian {source.packages[0]}"
    return f"{source.kind} {source.package}"


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
