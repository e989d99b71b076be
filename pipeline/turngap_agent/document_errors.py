"""What is wrong with a document, in the words of its writer: a line an error, with its place and the nearest key."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from turngap_agent.names import NAME, NEAR_KEY, find_nearest

Location = tuple[int | str, ...]
Origin = Callable[[Location], str | None]
"""Returns where the value at a location of the document came from, if not from the document itself."""
MAX_ERRORS = 10
"""At most this many errors of one document are listed; more errors usually mean that this is the wrong file."""


def describe_value(error: ErrorDetails, model: type[BaseModel]) -> str:
    """Return what is wrong with the value of an error of pydantic, in the words of a document's writer."""
    key = ".".join(str(part) for part in error["loc"])
    plain = _plain(error, model, error["loc"])
    message = plain or error["msg"].removeprefix("Value error, ")
    given = f", not {error['input']!r}" if isinstance(error["input"], (str, int, float)) else ""
    return f"`{key}`{'' if plain else ':'} {message}{given}" if key else message


def list_required(model: type[BaseModel]) -> list[str]:
    """Return the keys that a document of that model must have."""
    return [key for key, field in model.model_fields.items() if field.is_required()]


def explain(
    error: ValidationError,
    node: yaml.Node | None,
    data: dict[str, Any],
    name: str,
    model: type[BaseModel],
    origin: Origin | None,
) -> str:
    """Return a line for each error of a document: where it is, and what is wrong with it there."""
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
        line, path = find_place(node, location)
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
            return "{" + (", ".join(f"{key}: …" for key in list_required(annotation)) or "key: value") + "}"
        if typing.get_origin(annotation) is dict:
            return "{key: value}"
    return "value"


def find_place(node: yaml.Node | None, location: Location) -> tuple[int, Location]:
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
