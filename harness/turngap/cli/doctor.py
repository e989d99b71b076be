"""`turngap doctor`: the diagnosis as lines marked ✓, ! or ✗, or as JSON."""

from __future__ import annotations

import asyncio
import json

from rich.console import Console
from rich.table import Table
from rich.text import Text
from turngap_agent import profile as profiles

from turngap.clock import SystemClock
from turngap.doctor.checks import Ability, Check, Diagnosis, State
from turngap.doctor.diagnose import diagnose
from turngap.model.plural import plural
from turngap.progress import PipeConsole

_MARKS = {State.OK: ("✓", "green"), State.WARNING: ("!", "yellow"), State.PROBLEM: ("✗", "red")}
_ASCII = {State.OK: "ok", State.WARNING: "!", State.PROBLEM: "x"}
PROBLEMS = 1


def run(profile: str, *, as_json: bool) -> int:
    """Diagnose and print; return the exit code: 1 if something that the profile needs is missing.

    Raises:
        ProfileError: there is no such profile, or it is malformed.
        AgentError: the agent's program cannot tell what the profile needs.
    """
    profiles.load(profile)  # its own message, in this process
    diagnosis = asyncio.run(diagnose(profile, clock=SystemClock()))
    if as_json:
        print(json.dumps(diagnosis.to_json(), indent=2, ensure_ascii=False))
    else:
        print_diagnosis(diagnosis, PipeConsole())
    return PROBLEMS if diagnosis.problems else 0


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Print the groups of checks, then the commands."""
    for group in diagnosis.groups:
        _print_table(console, group.title, [_row(check, console) for check in group.checks])
    rows = [_ability_row(ability, console) for ability in diagnosis.abilities]
    _print_table(console, "commands", rows)
    problems = diagnosis.problems
    line = (
        f"{plural(problems, 'problem')} for profile {diagnosis.profile}"
        if problems
        else (f"profile {diagnosis.profile} can run here")
    )
    console.print(line, highlight=False, markup=False)


def _print_table(console: Console, title: str, rows: list[tuple[Text, str, Text]]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False, title=title, title_justify="left", title_style="bold")
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print()


def _row(check: Check, console: Console) -> tuple[Text, str, Text]:
    text = Text(check.found)
    if check.remedy:
        text.append(f"\n→ {check.remedy}" if _is_unicode(console) else f"\n-> {check.remedy}", style="italic")
    return _mark(check.state, console), check.name, text


def _ability_row(ability: Ability, console: Console) -> tuple[Text, str, Text]:
    return _mark(ability.state, console), ability.command, Text(ability.why)


def _mark(state: State, console: Console) -> Text:
    mark, colour = _MARKS[state]
    return Text(mark if _is_unicode(console) else _ASCII[state], style=colour)


def _is_unicode(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")
