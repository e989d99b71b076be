"""YAML documents read into frozen pydantic models; each error is a line with file, line and the nearest valid key."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from turngap_agent.errors import UsageError
from turngap_agent.yaml_text import YamlTextError, read_yaml

NAME = r"^[a-z0-9][a-z0-9-]*$"
"""The pattern of names: of profiles, scenarios, budgets."""
Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]
Origin = Callable[[Location], str | None]
"""Returns where the value at a location of the document came from, if not from the document itself."""
SIMILAR = 0.75
"""Names less alike than this (ratio of `difflib`) are not suggested in place of one another."""
NEAR_KEY = 0.6
"""Keys are suggested sooner: there are few of them, and the line is known."""
MAX_ERRORS = 10
"""At most this many errors of one document are listed; more errors usually mean that this is the wrong file."""


class FrozenModel(BaseModel):
    """Base of all documents, settings and records: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def load(path: Path, model: type[Model], error_type: type[UsageError] = UsageError) -> Model:
    """Read `path` as one YAML mapping and validate it as `model`.

    Raises:
        UsageError: (or the given subclass) the file is missing (code `.missing`), unreadable (`.unreadable`), no YAML
            mapping (`.yaml`), or does not fit the model (`.invalid`). The message has a line for each error, with
            file, line, and the nearest valid key for an unknown one.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise error_type(f"{path}: no such file", code=f"{error_type.code}.missing") from None
    except IsADirectoryError:
        raise error_type(f"{path}: is a folder; give a .yaml file", code=f"{error_type.code}.unreadable") from None
    except UnicodeDecodeError:
        raise error_type(f"{path}: not a text file in UTF-8", code=f"{error_type.code}.unreadable") from None
    except OSError as error:
        reason = error.strerror or error
        raise error_type(f"{path}: cannot be read ({reason})", code=f"{error_type.code}.unreadable") from None
    return parse(text, str(path), model, error_type)


def list_shipped(folder: Path) -> list[str]:
    """Return the names of the documents that ship in `folder`."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def locate(name_or_path: str, folder: Path, kind: str, error_type: type[UsageError]) -> Path:
    """Return the file for a path, or for the name of a document that ships in `folder`; messages call it `kind`.

    Raises:
        UsageError: (or the given subclass, `.unknown`) no document of that name ships.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        return path
    names = list_shipped(folder)
    if name_or_path not in names:
        if path.is_dir():
            raise error_type(
                f"{name_or_path} is a folder; give a .yaml file, or one of: {', '.join(names)}",
                code=f"{error_type.code}.unknown",
            )
        raise error_type(
            f"no {kind} {name_or_path!r}{list_choices(name_or_path, names)} (or give a .yaml file)",
            code=f"{error_type.code}.unknown",
        )
    return folder / f"{name_or_path}.yaml"


def parse(
    text: str,
    name: str,
    model: type[Model],
    error_type: type[UsageError] = UsageError,
    origin: Origin | None = None,
) -> Model:
    """Validate YAML `text` as `model`; messages call it `name` and give the line, or what `origin` returns instead.

    Raises:
        UsageError: (or the given subclass) as `load`.
    """
    malformed = f"{error_type.code}.yaml"
    try:
        node, data = read_yaml(text)
    except YamlTextError as error:
        where = name if error.line is None else f"{name}:{error.line}"
        raise error_type(f"{where}: {error.problem}", code=malformed) from None
    if data is None:
        required = ", ".join(f"`{key}`" for key in _required(model))
        raise error_type(f"{name}: the file is empty; it needs at least {required}", code=malformed)
    if not isinstance(data, dict):
        raise error_type(
            f"{name}:1: a mapping of keys to values is expected, not {type(data).__name__}", code=malformed
        )
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = _explain(error, node, data, name, model, origin)
        raise error_type(lines, code=f"{error_type.code}.invalid") from None


def located_error(message: str, location: Location) -> PydanticCustomError:
    """Return an error that a validator of a model raises about a value at `location` below that model."""
    return PydanticCustomError("located", "{message}", {"message": message, "location": location})


def find_nearest(name: str, known: Iterable[str], cutoff: float = SIMILAR) -> str | None:
    """Return the one of `known` that is most like `name`, whatever its case; None if none is near."""
    names = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name.casefold(), list(names), n=1, cutoff=cutoff)
    return names[near[0]] if near else None


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'NAME'?" with the nearest of `known`, or "" if none is near."""
    near = find_nearest(name, known)
    return f"; did you mean {near!r}?" if near is not None else ""


def list_choices(name: str, known: Iterable[str]) -> str:
    """Return what the message about a name that is none of `known` ends with: the nearest one, and all of them."""
    names = list(known)
    near = find_nearest(name, names)
    listed = f"there are: {', '.join(names)}"
    return f"; did you mean {near!r}? T{listed[1:]}" if near is not None else f"; {listed}"


def describe_value(error: ErrorDetails, model: type[BaseModel]) -> str:
    """Return what is wrong with the value of an error of pydantic, in the words of a document's writer."""
    key = ".".join(str(part) for part in error["loc"])
    plain = _plain(error, model, error["loc"])
    message = plain or error["msg"].removeprefix("Value error, ")
    given = f", not {error['input']!r}" if isinstance(error["input"], (str, int, float)) else ""
    return f"`{key}`{'' if plain else ':'} {message}{given}" if key else message


def find_line(path: Path, location: Location) -> int:
    """Return the line, from 1, of the deepest part of `location` that the document at `path` has."""
    return _find(read_yaml(path.read_text("utf-8"))[0], location)[0]


def _required(model: type[BaseModel]) -> list[str]:
    return [key for key, field in model.model_fields.items() if field.is_required()]


def _explain(
    error: ValidationError,
    node: yaml.Node | None,
    data: dict[str, Any],
    name: str,
    model: type[BaseModel],
    origin: Origin | None,
) -> str:
    messages: dict[Location, str] = {}  # one a place: each member of a union has its own complaint
    # A list whose only item has an error seems empty as well.
    excused: set[Location] = {one["loc"][:size] for one in error.errors() for size in range(len(one["loc"]))}
    # Unknown keys first: a key that seems to be missing is usually one of them, misspelt.
    for one in sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden"):
        location: Location = (*one["loc"], *one.get("ctx", {}).get("location", ()))
        if one["type"] in ("missing", "too_short") and location in excused:
            continue
        if one["type"] == "default_factory_not_called":  # follows from another error
            continue
        line, path = _find(node, location)
        where = (origin(location if one["type"] == "missing" else path) if origin else None) or f"{name}:{line}"
        dotted = ".".join(str(part) for part in path)
        if one["type"] == "extra_forbidden":
            keys = sorted(_keys(model, location[:-1], data))
            near = find_nearest(str(location[-1]), keys, NEAR_KEY)
            excused |= {(*location[:-1], near)} if near is not None else set()
            hint = f"did you mean `{near}`?" if near is not None else f"valid keys: {', '.join(keys)}"
            messages.setdefault(path, f"{where}: unknown key `{dotted}`; {hint}")
        elif one["type"] == "missing":
            messages.setdefault(location, f"{where}: `{'.'.join(str(part) for part in location)}` is missing")
        else:
            plain = _plain(one, model, path)
            text = f"`{dotted}` {plain}" if plain else one["msg"].removeprefix("Value error, ")
            prefix = f"`{dotted}`: " if dotted and not plain else ""
            value = one["input"]
            # A message of a model's own may quote the value already.
            quoted = not isinstance(value, (str, int, float)) or (not plain and repr(value) in text)
            messages.setdefault(path, f"{where}: {prefix}{text}" + ("" if quoted else f", not {value!r}"))
    lines = list(messages.values())
    if len(lines) > MAX_ERRORS:
        lines[MAX_ERRORS:] = [f"{name}: and {len(lines) - MAX_ERRORS} more errors; is it the right file?"]
    return "\n".join(lines)


def _plain(error: ErrorDetails, model: type[BaseModel], path: Location) -> str:
    """Return what the value at `path` must be, in the words of a document's writer; "" to keep pydantic's message."""
    context = error.get("ctx", {})
    match error["type"]:
        case "too_short" | "string_too_short" if context["min_length"] == 1:
            return "must not be empty"
        case "too_short":
            return f"must have at least {context['min_length']} entries"
        case "too_long":
            return f"must have at most {context['max_length']} entries"
        case "string_pattern_mismatch" if context["pattern"] == NAME:
            return "must be a name of lower-case letters, digits and hyphens"
        case "int_parsing" | "int_type" | "int_from_float":
            return "must be a whole number"
        case "float_parsing" | "float_type":
            return "must be a number"
        case "finite_number":
            return "must be a finite number"
        case "bool_parsing" | "bool_type":
            return "must be true or false"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}"
        case "greater_than":
            return f"must be more than {context['gt']:g}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}"
        case "less_than":
            return f"must be less than {context['lt']:g}"
        case "literal_error" | "enum":
            return f"must be {context['expected']}{_suggest_quoted(error['input'], context['expected'])}"
        case "union_tag_invalid":
            tag, expected = context["discriminator"].strip("'"), context["expected_tags"]
            hint = _suggest_quoted(context["tag"], expected)
            return f"has the unknown `{tag}` {context['tag']!r}; it must be one of {expected}{hint}"
        case "union_tag_not_found":
            return f"needs the key `{context['discriminator'].strip(chr(39))}`"
        case "string_type":
            return "must be a text (in quotes where it looks like something else)"
        case "tuple_type" | "list_type":
            return f"must be a list, as in `{path[-1]}: [{_example(model, (*error['loc'], 0))}]`"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"must be a mapping of keys to values, as in `{_example(model, error['loc'])}`"
        case _:
            return ""


def _suggest_quoted(given: object, expected: str) -> str:
    """Return ", as in 'NAME'" with the nearest of the names that pydantic lists in quotes."""
    near = find_nearest(given, re.findall(r"'([^']*)'", expected)) if isinstance(given, str) else None
    return f" (perhaps {near!r})" if near is not None else ""


def _example(model: type[BaseModel], location: Location) -> str:
    """Return how a value at `location` is written, its required keys only."""
    for annotation in _annotations(model, location):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return "{" + (", ".join(f"{key}: …" for key in _required(annotation)) or "key: value") + "}"
        if typing.get_origin(annotation) is dict:
            return "{key: value}"
    return "value"


def _find(node: yaml.Node | None, location: Location) -> tuple[int, Location]:
    """Return the line of the deepest part of `location` in the document, and the parts that exist (no union tags)."""
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


def _keys(model: type[BaseModel], location: Location, data: Any) -> set[str]:
    """Return the keys that are valid at `location` of `data`, over all members of a union."""
    types_there = _annotations(model, location, data)
    models = (one for one in types_there if isinstance(one, type) and issubclass(one, BaseModel))
    return {field.alias or key for one in models for key, field in one.model_fields.items()}


def _annotations(annotation: Any, location: Location, data: Any = None, metadata: Sequence[Any] = ()) -> Iterator[Any]:
    """Yield the types that a value at `location` below `annotation` may have; a union has several.

    `data` is the document's value for `annotation`. An item of `metadata`, which annotates it, may choose its type by
    that: it has a method `model_for(data)`.
    """
    for one in metadata:
        if hasattr(one, "model_for"):
            annotation = one.model_for(data) or annotation
    container, members = typing.get_origin(annotation), typing.get_args(annotation)
    if container is typing.Annotated:
        yield from _annotations(members[0], location, data, members[1:])
    elif container in (typing.Union, types.UnionType):
        for member in members:
            yield from _annotations(member, location, data)
    elif not location:
        yield annotation
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields
        if (field := fields.get(str(location[0]))) is not None:
            value = data.get(location[0]) if isinstance(data, dict) else None
            yield from _annotations(field.annotation, location[1:], value, field.metadata)
        elif any(location[0] in typing.get_args(field.annotation) for field in fields.values()):  # the tag of a union
            yield from _annotations(annotation, location[1:], data)
    elif container in (list, tuple, dict):
        for member in members:
            yield from _annotations(member, location[1:])
