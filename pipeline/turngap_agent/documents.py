"""YAML documents read into frozen pydantic models; each error is a line with file, line and the nearest valid key."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from turngap_agent.document_errors import (
    MAX_ERRORS,
    Location,
    Origin,
    describe_value,
    explain,
    find_place,
    list_required,
)
from turngap_agent.errors import UsageError
from turngap_agent.names import NAME, NEAR_KEY, find_nearest, list_choices, suggest
from turngap_agent.yaml_text import YamlTextError, read_yaml

__all__ = [
    "MAX_ERRORS",
    "NAME",
    "NEAR_KEY",
    "FrozenModel",
    "Location",
    "describe_value",
    "find_line",
    "find_nearest",
    "list_choices",
    "list_shipped",
    "load",
    "locate",
    "located_error",
    "parse",
    "suggest",
]

Model = TypeVar("Model", bound=BaseModel)


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
        required = ", ".join(f"`{key}`" for key in list_required(model))
        raise error_type(f"{name}: the file is empty; it needs at least {required}", code=malformed)
    if not isinstance(data, dict):
        raise error_type(
            f"{name}:1: a mapping of keys to values is expected, not {type(data).__name__}", code=malformed
        )
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = explain(error, node, data, name, model, origin)
        raise error_type(lines, code=f"{error_type.code}.invalid") from None


def located_error(message: str, location: Location) -> PydanticCustomError:
    """Return an error that a validator of a model raises about a value at `location` below that model."""
    return PydanticCustomError("located", "{message}", {"message": message, "location": location})


def find_line(path: Path, location: Location) -> int:
    """Return the line, from 1, of the deepest part of `location` that the document at `path` has."""
    return find_place(read_yaml(path.read_text("utf-8"))[0], location)[0]
