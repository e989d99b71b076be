"""Targets among YAML documents: scenarios, profiles, budgets, networks, mappings, and the overrides of a profile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import turngap
from pydantic import BaseModel
from turngap.model.budget import Budget
from turngap.model.span_mapping import SpanMapping
from turngap.network import NetworkProfile
from turngap.network.telephone import TelephoneNetwork, plan_delays_ms
from turngap.scenario import Scenario
from turngap_agent import documents, profile
from turngap_agent.errors import ProfileError, ScenarioError, UsageError
from turngap_agent.profile import Profile

from tests.fuzz.target import Target

_SHIPPED = Path(turngap.__file__).parent / "scenarios"
_PROFILES = Path(profile.__file__).parents[1] / "profiles"
_NAME = "given.yaml"


def _make(name: str, model: type[BaseModel], files: Sequence[Path], error: type[UsageError] = ScenarioError) -> Target:
    def read(data: bytes, folder: Path) -> None:
        path = folder / _NAME
        path.write_bytes(data)
        found = documents.load(path, model, error)
        if isinstance(found, TelephoneNetwork):
            plan_delays_ms(found, 7)

    return Target(
        name, f"{model.__name__} documents", read, lambda: [path.read_bytes() for path in files], "yaml", _NAME
    )


def _override(data: bytes, _: Path) -> None:
    profile.load("scripted", data.decode("utf-8", "replace").split("\n"))


DOCUMENT_TARGETS = (
    _make("scenarios", Scenario, sorted(_SHIPPED.glob("*.scenario.yaml"))),
    _make("profiles", Profile, sorted(_PROFILES.glob("*.yaml")), ProfileError),
    _make("budgets", Budget, sorted((_SHIPPED / "budgets").glob("*.yaml"))),
    _make("networks", NetworkProfile, sorted((_SHIPPED / "networks").glob("*.yaml"))),
    _make("telephone-networks", TelephoneNetwork, sorted((_SHIPPED / "telephone").glob("*.yaml"))),
    _make("span-mappings", SpanMapping, sorted((_SHIPPED / "spans").glob("*.yaml"))),
    Target(
        "profile-overrides",
        "--set",
        _override,
        lambda: [
            b"limits.call_s=30\nllm.max_tokens=20",
            b"endpointing.model=null",
            b"tts={engine: scripted, first_audio_ms: 5}",
        ],
    ),
)
