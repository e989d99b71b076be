"""`python -m turngap_agent weights …`: list, fetch, verify and locate the pinned models."""

from __future__ import annotations

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


def show_list(*, as_json: bool) -> int:
    """Print the pinned models; return the exit code."""
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


def pull(what: str | None, *, here: bool, as_json: bool) -> int:
    """Fetch what a profile needs, or one model; with `here` only if this machine can run the profile.

    Without `what`, a voice that cannot be fetched is a note only: the caller has a synthetic one.

    Raises:
        TurngapError: as `turngap_agent.weights`.
    """
    if here and what and what not in pins.shipped():
        fitness.check(profile.load(what))
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
    elif not fetched and not failed:
        print(f"{what} needs no model files")
    else:
        print(f"{len(fetched)} of {len(fetched) + len(failed)} in place: {', '.join(fetched)}")
    return 0


def verify(*, as_json: bool) -> int:
    """Compare every cached byte with the pins; return the exit code."""
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


def show_path(name: str, *, as_json: bool) -> int:
    """Print the file or folder of one model, fetched if missing; return the exit code."""
    path = weights.get(name)
    print(json.dumps({"name": name, "path": str(path)}) if as_json else path)
    return 0


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
