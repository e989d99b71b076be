"""The settings of a sweep: the product of `--set key=a,b,c`, or the named steps of a YAML file."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field
from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.errors import UsageError
from turngap_agent.profile import Profile

from turngap.model.plural import plural

MOST_SETTINGS = 12
"""Each setting is an agent of its own, and all of them run at the same time."""
_LONGEST_SLUG = 60
_ORDERED = ("provisional_ms", "min_silence_ms", "max_silence_ms")
"""Settings of `endpointing` that must not decrease in this order; checked by the profile, unless its policy is
`silence`."""
_OPEN, _CLOSE = "[{(", "]})"


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of the grid."""

    name: str
    """What differs from the other settings."""
    slug: str
    """The name of its run folder."""
    overrides: tuple[str, ...]
    """`section.key=value` each, as for `turngap run --set`."""
    where: str = ""
    """Prefix of an error message about it: the step of a grid file; "" where the override names itself."""


class Step(FrozenModel):
    """A named setting of a grid file."""

    name: str = Field(min_length=1, max_length=80)
    set: tuple[str, ...] = ()
    """`section.key=value` each, all of them: a step does not inherit from the one before."""


class Grid(FrozenModel):
    """A grid file."""

    description: str = ""
    steps: tuple[Step, ...] = Field(min_length=1)


def combine_values(assignments: Sequence[str]) -> tuple[Setting, ...]:
    """Return every combination of the values, the last key's varying fastest.

    `assignments` are the arguments of `--set`, `section.key=value,value,...` each.

    Raises:
        UsageError: there are no values or too many settings, a value is malformed, or a key or a value is repeated.
    """
    axes = [_parse_axis(assignment) for assignment in assignments]
    keys = [key for key, _ in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"--set {key}: given more than once; put all values into one, with commas between them")
    if not axes:
        raise UsageError(
            "a sweep needs settings: --set section.key=value,value, as in "
            "--set endpointing.min_silence_ms=100,200,300, or a file of named steps: --grid FILE.yaml"
        )
    short = _shorten_keys(keys)
    combinations = []
    for values in itertools.product(*(values for _, values in axes)):
        pairs = list(zip(keys, values, strict=True))
        # A key with a single value does not distinguish the settings.
        varied = [pair for pair, (_, all_values) in zip(pairs, axes, strict=True) if len(all_values) > 1] or pairs
        name = " ".join(f"{short[key]}={value}" for key, value in varied)
        combinations.append((name, tuple(f"{key}={value}" for key, value in pairs)))
    return _make_settings(combinations)


def load_steps(file: Path) -> tuple[Setting, ...]:
    """Return the named steps of a grid file, in its order.

    Raises:
        UsageError: the file is missing or malformed, two steps have the same name, or there are too many.
    """
    return name_settings(documents.load(file, Grid).steps, str(file))


def name_settings(steps: Sequence[Step], file: str) -> tuple[Setting, ...]:
    """Return the settings of named steps; error messages begin with `file`.

    Raises:
        UsageError: two steps have the same name, or there are too many.
    """
    names = [step.name for step in steps]
    for step in steps:
        if names.count(step.name) > 1:
            raise UsageError(f"{file}: two steps are called {step.name!r}; give one of them another name")
        keys = [override.partition("=")[0].strip() for override in step.set]
        double = next((key for key in keys if keys.count(key) > 1), None)
        if double is not None:
            raise UsageError(f"{file}: step {step.name!r} sets {double} twice; leave one of them out")
    settings = _make_settings([(step.name, step.set) for step in steps])
    return tuple(replace(setting, where=f"{file}: step {setting.name!r}: ") for setting in settings)


@dataclass(frozen=True, slots=True)
class MovedSetting:
    """A setting that a sweep changes along with the swept one, because the profile's order of the two demands it."""

    override: str
    """`section.key=value`."""
    note: str


def moved_settings(profile: Profile, overrides: Sequence[str]) -> tuple[MovedSetting, ...]:
    """Return the changes without which `overrides` would contradict the other settings of `profile`.

    The silences of endpointing are ordered: `provisional_ms <= min_silence_ms <= max_silence_ms`. One that no override
    names follows one that does. Overrides that contradict each other move nothing: the profile refuses them.
    """
    values = dict(override.partition("=")[::2] for override in overrides)
    values = {key.strip(): value.strip() for key, value in values.items()}
    if values.get("endpointing.policy", profile.endpointing.policy) == "silence":
        return ()
    swept = {
        place: int(value)
        for place, key in enumerate(_ORDERED)
        if (value := values.get(f"endpointing.{key}", "")).isdecimal()
    }
    moved = []
    for place, key in enumerate(_ORDERED):
        if f"endpointing.{key}" in values:
            continue
        current: int = getattr(profile.endpointing, key)
        least = max((ms for at, ms in swept.items() if at < place), default=0)
        most = min((ms for at, ms in swept.items() if at > place), default=sys.maxsize)
        new = min(max(current, least), most) if least <= most else current
        if new != current:
            limit = "less" if new > current else "more"
            other = next(_ORDERED[at] for at, ms in swept.items() if ms == new)
            note = f"endpointing.{key} is {new} instead of {current}: it may not be {limit} than {other}"
            moved.append(MovedSetting(f"endpointing.{key}={new}", note))
    return tuple(moved)


def split_values(text: str, key: str = "") -> list[str]:
    """Split `text` at its commas outside brackets and quotes; spaces around the values are removed.

    `key` is the setting that gets these values, for messages.

    Raises:
        UsageError: a bracket or a quote is not closed, or a value is empty.
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


def _parse_axis(assignment: str) -> tuple[str, list[str]]:
    key, equals, text = assignment.partition("=")
    key = key.strip()
    if not equals or not re.fullmatch(r"\w+(\.\w+)+", key):
        raise UsageError(
            f"--set {assignment!r}: expected section.key=value,value, as in endpointing.min_silence_ms=100,200,300"
        )
    values = split_values(text, key)
    double = next((value for value in values if values.count(value) > 1), None)
    if double is not None:
        raise UsageError(f"--set {assignment!r}: the value {double} is given twice; give it once")
    return key, values


def _shorten_keys(keys: Iterable[str]) -> dict[str, str]:
    """Return the last part of each key where it is unique, else the whole key."""
    keys = list(keys)
    lasts = [key.rpartition(".")[2] for key in keys]
    return {key: last if lasts.count(last) == 1 else key for key, last in zip(keys, lasts, strict=True)}


def _make_settings(combinations: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[Setting, ...]:
    if len(combinations) > MOST_SETTINGS:
        raise UsageError(
            f"{plural(len(combinations), 'setting')}, at most {MOST_SETTINGS} are possible: "
            "each is an agent of its own, and all run at the same time; give fewer values, or sweep them in parts"
        )
    slugs: list[str] = []
    for name, _ in combinations:
        slug = re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-._")[:_LONGEST_SLUG] or "setting"
        number = 1
        while (numbered := slug if number == 1 else f"{slug}-{number}") in slugs:
            number += 1
        slugs.append(numbered)
    return tuple(Setting(name, slug, overrides) for (name, overrides), slug in zip(combinations, slugs, strict=True))
