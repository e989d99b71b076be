"""The vocabulary of a diagnosis: checks in groups, and the commands that will work."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    """Commands work; what they measure may be worse than it could be."""
    PROBLEM = "problem"
    """Something that was asked for cannot work."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    found: str
    """What is there, with units."""
    remedy: str = ""
    """What to do about it; "" where nothing has to be done."""


@dataclass(frozen=True, slots=True)
class Group:
    """Checks that belong together."""

    title: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Ability:
    """A command, and whether it will work here."""

    command: str
    state: State
    why: str = ""
    """What stands against it, or what it does first; "" for nothing."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was found."""

    profile: str
    groups: tuple[Group, ...]
    abilities: tuple[Ability, ...]

    @property
    def problems(self) -> int:
        """How many checks are problems."""
        return sum(check.state is State.PROBLEM for group in self.groups for check in group.checks)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self) | {"problems": self.problems}


def find_worst(*states: State) -> State:
    """Return the worst of the states; OK for none."""
    return max(states, key=list(State).index, default=State.OK)
