"""The settings of a sweep: the product of `--set key=a,b,c`, or the named steps of a YAML file."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field
from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.errors import UsageError

from turngap.model.plural import plural

MOST_SETTINGS = 12
"""Each is an agent of its own, and all of them stand at once."""
_LONGEST_SLUG = 60
_OPEN, _CLOSE = "[{(", "]})"


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of the grid."""

    name: str
    """As shown: what differs from the other settings."""
    slug: str
    """The name of its run folder."""
    overrides: tuple[str, ...]
    """As for `turngap run --set`."""
    where: str = ""
    """What goes before a message about it: the step of a grid file; an override names itself."""


class Step(FrozenModel):
    """A named setting of a grid file."""

    name: str = Field(min_length=1, max_length=80)
    set: tuple[str, ...] = ()
    """`section.key=value` each, all of them: a step does not inherit from the one before."""


class Grid(FrozenModel):
    """A grid file."""

    description: str = ""
    steps: tuple[Step, ...] = Field(min_length=1)


def product(given: Sequence[str]) -> tuple[Setting, ...]:
    """Every combination of the values, the last key's varying fastest; `given` is `section.key=value,value,...` each.

    Raises:
        UsageError: nothing was given, a value is malformed, a key or a value stands twice, or it is too many.
    """
    axes = [_axis(one) for one in given]
    keys = [key for key, _ in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"--set {key}: given more than once; put all values into one, with commas between them")
    if not axes:
        raise UsageError(
            "a sweep needs settings: --set section.key=value,value, as in "
            "--set endpointing.min_silence_ms=100,200,300, or a file of named steps: --grid FILE.yaml"
        )
    short = _short(keys)
    found = []
    for values in itertools.product(*(values for _, values in axes)):
        pairs = list(zip(keys, values, strict=True))
        # A key with one value is no difference: it is said once, of all of them.
        told = [pair for pair, (_, all_values) in zip(pairs, axes, strict=True) if len(all_values) > 1] or pairs
        name = " ".join(f"{short[key]}={value}" for key, value in told)
        found.append((name, tuple(f"{key}={value}" for key, value in pairs)))
    return _settings(found)


def load(file: Path) -> tuple[Setting, ...]:
    """The named steps of a grid file, in its order.

    Raises:
        UsageError: the file is missing or malformed, two steps share a name, or it is too many.
    """
    grid = documents.load(file, Grid)
    names = [step.name for step in grid.steps]
    for step in grid.steps:
        if names.count(step.name) > 1:
            raise UsageError(f"{file}: two steps are called {step.name!r}; give one of them another name")
        keys = [override.partition("=")[0].strip() for override in step.set]
        double = next((key for key in keys if keys.count(key) > 1), None)
        if double is not None:
            raise UsageError(f"{file}: step {step.name!r} sets {double} twice; leave one of them out")
    found = _settings([(step.name, step.set) for step in grid.steps])
    return tuple(replace(one, where=f"{file}: step {one.name!r}: ") for one in found)


def split_values(text: str, key: str = "") -> list[str]:
    """What stands between the commas of `text` that lie outside brackets and quotes, spaces around it left out.

    `key` is the one that gets these values, for messages.

    Raises:
        UsageError: a bracket or a quote is not closed, or nothing stands between two commas.
    """
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in _OPEN:
            depth += 1
        elif character in _CLOSE:
            depth -= 1
        elif character == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += character
        if depth < 0:
            break
    if quote or depth:
        raise UsageError(f"--set {f'{key}={text}'!r}: a bracket or a quote is not closed")
    values = [part.strip() for part in parts]
    if "" in values:
        raise UsageError(
            f"--set {f'{key}={text}'!r}: a value is missing; "
            + (
                "give one beside each comma, or drop the comma"
                if "," in text
                else "give values with commas between them"
            )
        )
    return values


def _axis(given: str) -> tuple[str, list[str]]:
    key, equals, text = given.partition("=")
    key = key.strip()
    if not equals or not re.fullmatch(r"\w+(\.\w+)+", key):
        raise UsageError(
            f"--set {given!r}: expected section.key=value,value, for example endpointing.min_silence_ms=100,200,300"
        )
    values = split_values(text, key)
    double = next((value for value in values if values.count(value) > 1), None)
    if double is not None:
        raise UsageError(f"--set {given!r}: the value {double} stands there twice; give it once")
    return key, values


def _short(keys: Iterable[str]) -> dict[str, str]:
    """The last part of each key, where it is the only one that ends so; else the whole key."""
    keys = list(keys)
    lasts = [key.rpartition(".")[2] for key in keys]
    return {key: last if lasts.count(last) == 1 else key for key, last in zip(keys, lasts, strict=True)}


def _settings(found: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[Setting, ...]:
    if len(found) > MOST_SETTINGS:
        raise UsageError(
            f"{plural(len(found), 'setting')}, {MOST_SETTINGS} are the most: each is an agent of its own, and all "
            "stand at once; give fewer values, or sweep them in parts"
        )
    slugs: list[str] = []
    for name, _ in found:
        slug = re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-._")[:_LONGEST_SLUG] or "setting"
        number = 1
        while (numbered := slug if number == 1 else f"{slug}-{number}") in slugs:
            number += 1
        slugs.append(numbered)
    return tuple(Setting(name, slug, overrides) for (name, overrides), slug in zip(found, slugs, strict=True))
