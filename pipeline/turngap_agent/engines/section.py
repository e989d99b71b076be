"""The part of a profile that names an engine: its `engine` decides, through the registry, which keys are valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from turngap_agent.engines import registry
from turngap_agent.engines.settings import EngineKind, EngineSettings
from turngap_agent.errors import TurngapError


@dataclass(frozen=True, slots=True)
class Section:
    """Annotates a field as the settings of any engine of a stage: a discriminated union that the registry holds."""

    stage: EngineKind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate by the named engine's own class, and dump all of its fields."""
        return core_schema.no_info_plain_validator_function(
            self._validate, serialization=core_schema.simple_ser_schema("any")
        )

    def model_for(self, data: Any) -> type[BaseModel] | None:
        """The settings class that `data` names; None where it names none that can be had."""
        try:
            return registry.find(self.stage, data["engine"])
        except (TurngapError, TypeError, KeyError):
            return None

    def _validate(self, value: Any) -> EngineSettings:
        if isinstance(value, EngineSettings) and value.stage == self.stage:
            return value
        if not isinstance(value, Mapping):
            raise _error(InitErrorDetails(type="dict_type", input=value))
        if "engine" not in value:
            raise _error(InitErrorDetails(type="missing", loc=("engine",), input=value))
        name = value["engine"]
        if not isinstance(name, str):
            raise _error(InitErrorDetails(type="string_type", loc=("engine",), input=name))
        try:
            settings = registry.find(self.stage, name)
        except TurngapError as error:
            cause = PydanticCustomError("engine", "{reason}", {"reason": str(error)})
            raise _error(InitErrorDetails(type=cause, loc=("engine",), input=value)) from None
        return settings.model_validate(value)


def _error(details: InitErrorDetails) -> ValidationError:
    return ValidationError.from_exception_data("engine", [details])
