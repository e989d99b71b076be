"""YAML documents read into pydantic models: every fault is one line with file, line and the nearest valid key."""

from __future__ import annotations

import difflib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import UsageError

NAME = r"^[a-z0-9][a-z0-9-]*$"
"""The pattern of names: of profiles, scenarios, budgets."""
Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]


def load(path: Path, model: type[Model], error: type[UsageError] = UsageError) -> Model:
    """Read `path` as one YAML mapping and validate it as `model`.

    Raises:
        UsageError: (or the given subclass) the file is missing, unreadable, empty, no YAML mapping, or does not fit the
            model; the message names file, line, and the nearest valid key for an unknown one.
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


def parse(text: str, name: str, model: type[Model], error: type[UsageError] = UsageError) -> Model:
    """Validate YAML `text`, called `name` in messages, as `model`.

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
        raise error(_explain(fault, node, name, model)) from None


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


def _explain(fault: ValidationError, node: yaml.Node | None, name: str, model: type[BaseModel]) -> str:
    # An unknown key before all else: what seems to be missing is as a rule that key, misspelt.
    first = min(fault.errors(), key=lambda one: one["type"] != "extra_forbidden")
    location: Location = first["loc"]
    line, path = _find(node, location)
    where = f"{name}:{line}"
    more = f" (and {fault.error_count() - 1} more)" if fault.error_count() > 1 else ""
    dotted = ".".join(str(part) for part in path)
    if first["type"] == "extra_forbidden":
        keys = sorted(_keys(model, location[:-1]))
        near = difflib.get_close_matches(str(location[-1]), keys, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"valid keys: {', '.join(keys)}"
        return f"{where}: unknown key `{dotted}`; {hint}{more}"
    if first["type"] == "missing":
        return f"{where}: `{'.'.join(str(part) for part in location)}` is missing{more}"
    message = _plain(first)
    given = f", not {first['input']!r}" if isinstance(first["input"], (str, int, float, bool)) else ""
    return f"{where}: `{dotted}`: {message}{given}{more}" if dotted else f"{where}: {message}{more}"


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
