"""YAML documents read into pydantic models: each fault is a line with file, line and the nearest valid key."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from turngap_agent.errors import UsageError

NAME = r"^[a-z0-9][a-z0-9-]*$"
"""The pattern of names: of profiles, scenarios, budgets."""
Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]
Whence = Callable[[Location], str | None]
"""Where what stands at a location of the document came from, if not from the document itself."""
MOST_FAULTS = 10
"""As many faults of one document are told; who has more has the wrong file."""


def load(path: Path, model: type[Model], error: type[UsageError] = UsageError) -> Model:
    """Read `path` as one YAML mapping and validate it as `model`.

    Raises:
        UsageError: (or the given subclass) the file is missing, unreadable, empty, no YAML mapping, or does not fit the
            model; the message has a line for each fault, with file, line, and the nearest valid key for an unknown one.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise error(f"{path}: cannot be read ({fault})") from None
    return parse(text, str(path), model, error)


def shipped(folder: Path) -> list[str]:
    """The names of the documents that ship in `folder`."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def locate(name_or_path: str, folder: Path, kind: str, error: type[UsageError]) -> Path:
    """The file given by its path, or by the name of one that ships in `folder`; `kind` is its word in the message.

    Raises:
        UsageError: (or the given subclass) nothing of that name ships.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        return path
    known = shipped(folder)
    if name_or_path not in known:
        raise error(f"no {kind} {name_or_path!r}; there are: {', '.join(known)} (or give a .yaml file)")
    return folder / f"{name_or_path}.yaml"


def parse(
    text: str, name: str, model: type[Model], error: type[UsageError] = UsageError, whence: Whence | None = None
) -> Model:
    """Validate YAML `text` as `model`; a message calls it `name` and gives the line, or what `whence` says instead.

    Raises:
        UsageError: (or the given subclass) as `load`.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        double = _double_key(node)
        if double is not None:
            raise error(f"{name}:{double.start_mark.line + 1}: the key `{double.value}` stands there a second time")
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise error(f"{name}:{line}: not valid YAML: {fault.problem}") from None
    except (yaml.YAMLError, ValueError) as fault:
        raise error(f"{name}: not valid YAML: {' '.join(str(fault).split())}") from None
    if data is None:
        raise error(f"{name}: the file is empty; it needs at least: {', '.join(_required(model))}")
    if not isinstance(data, dict):
        raise error(f"{name}:1: a mapping of keys was expected, not {type(data).__name__}")
    try:
        return model.model_validate(data)
    except ValidationError as fault:
        raise error(_explain(fault, node, name, model, whence)) from None


def line_of(path: Path, location: Location) -> int:
    """The line, from 1, of the deepest part of `location` that a document that was read before has."""
    return _find(yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader), location)[0]


def _double_key(root: yaml.Node | None) -> yaml.Node | None:
    """A key that a mapping has twice: YAML would keep the last one without a word."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop(0)
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in keys:
                    return key
                keys.add(str(key.value))
        waiting += [value for _, value in node.value] if isinstance(node, yaml.MappingNode) else node.value
    return None


def _required(model: type[BaseModel]) -> list[str]:
    return [key for key, field in model.model_fields.items() if field.is_required()]


def _explain(
    fault: ValidationError, node: yaml.Node | None, name: str, model: type[BaseModel], whence: Whence | None
) -> str:
    told: dict[Location, str] = {}  # one a place: each member of a union has its own complaint
    # A list whose only item is faulty seems empty as well.
    excused: set[Location] = {one["loc"][:size] for one in fault.errors() for size in range(len(one["loc"]))}
    # Unknown keys before all else: what seems to be missing is as a rule such a key, misspelt.
    for one in sorted(fault.errors(), key=lambda one: one["type"] != "extra_forbidden"):
        location: Location = one["loc"]
        if one["type"] in ("missing", "too_short") and location in excused:
            continue
        line, path = _find(node, location)
        where = (whence(location if one["type"] == "missing" else path) if whence else None) or f"{name}:{line}"
        dotted = ".".join(str(part) for part in path)
        if one["type"] == "extra_forbidden":
            keys = sorted(_keys(model, location[:-1]))
            near = difflib.get_close_matches(str(location[-1]), keys, n=1)
            excused |= {(*location[:-1], key) for key in near}
            hint = f"did you mean `{near[0]}`?" if near else f"valid keys: {', '.join(keys)}"
            told.setdefault(path, f"{where}: unknown key `{dotted}`; {hint}")
        elif one["type"] == "missing":
            told.setdefault(location, f"{where}: `{'.'.join(str(part) for part in location)}` is missing")
        else:
            given = f", not {one['input']!r}" if isinstance(one["input"], (str, int, float, bool)) else ""
            told.setdefault(path, f"{where}: " + (f"`{dotted}`: " if dotted else "") + f"{_plain(one)}{given}")
    lines = list(told.values())
    if len(lines) > MOST_FAULTS:
        lines[MOST_FAULTS:] = [f"{name}: and {len(lines) - MOST_FAULTS} more faults; is it the right file?"]
    return "\n".join(lines)


def _plain(fault: ErrorDetails) -> str:
    """What does not fit, in the words of a document's writer where pydantic's are a programmer's."""
    context = fault.get("ctx", {})
    match fault["type"]:
        case "too_short":
            return f"needs at least {context['min_length']} of them"
        case "too_long":
            return f"takes at most {context['max_length']} of them"
        case "string_pattern_mismatch" if context["pattern"] == NAME:
            return "needs a name of small letters, digits and hyphens"
        case "int_parsing" | "int_type" | "int_from_float":
            return "needs a whole number"
        case "float_parsing" | "float_type":
            return "needs a number"
        case "bool_parsing" | "bool_type":
            return "needs true or false"
        case "union_tag_invalid":
            key = context["discriminator"].strip("'")
            return f"`{key}` is {context['tag']!r}; it is one of {context['expected_tags']}"
        case "union_tag_not_found":
            return f"`{context['discriminator'].strip(chr(39))}` is missing"
        case "string_type":
            return "needs a text (in quotes where it looks like something else)"
        case "tuple_type" | "list_type":
            return "needs a list"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "needs keys with values below it"
        case _:
            return fault["msg"].removeprefix("Value error, ")


def _find(node: yaml.Node | None, location: Location) -> tuple[int, Location]:
    """Line of the deepest part of `location` that is in the document, and the parts that are (union tags are not)."""
    line, path = 1, []
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    path.append(part)
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
            path.append(part)
    return line, tuple(path)


def _keys(annotation: Any, location: Location) -> set[str]:
    """The keys that are valid at `location` below `annotation`, over all members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not location:
            return {field.alias or key for key, field in annotation.model_fields.items()}
        field = annotation.model_fields.get(str(location[0]))
        return _keys(field.annotation, location[1:]) if field else _keys(annotation, location[1:])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        members = typing.get_args(annotation)
        return set().union(*(_keys(member, location) for member in members))
    if typing.get_origin(annotation) in (list, tuple, dict):
        return set().union(*(_keys(member, location[1:]) for member in typing.get_args(annotation)))
    return set()
