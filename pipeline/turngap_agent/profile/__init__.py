"""Profiles: which engine, model, device and limits each stage of the agent has, as data.

A profile is a YAML file in `turngap_agent/profiles/` (given by name) or anywhere (given by path). The keys of a stage
are those of the engine that it names (`turngap_agent.engines`), so a misspelt key is reported before anything loads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, model_validator

from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.engines import (
    EngineKind,
    EngineSettings,
    LlmSettings,
    Placement,
    SttSettings,
    TtsSettings,
    VadSettings,
    registry,
)
from turngap_agent.engines.section import Section
from turngap_agent.errors import ProfileError, TurngapError
from turngap_agent.profile.deadlines import Deadlines
from turngap_agent.profile.sections import (
    AnnouncementTexts,
    BargeInSettings,
    EndpointingSettings,
    GpuSettings,
    Limits,
    NetworkModel,
    Price,
)
from turngap_agent.yaml_text import YamlTextError, read_yaml

PROFILES = Path(__file__).parents[1] / "profiles"
DEFAULT_LANDING_MS = 300


class Profile(FrozenModel):
    """One complete agent."""

    name: str = Field(pattern=documents.NAME)
    description: str
    weightless: bool = False
    """Random weights: times and memory are real, words are scripted, so nothing is claimed about recognition."""
    vad: Annotated[VadSettings, Section("vad")]
    endpointing: EndpointingSettings = Field(default_factory=EndpointingSettings)
    barge_in: BargeInSettings = BargeInSettings()
    stt: Annotated[SttSettings, Section("stt")]
    llm: Annotated[LlmSettings, Section("llm")]
    tts: Annotated[TtsSettings, Section("tts")]
    gpu: GpuSettings = GpuSettings()
    network: NetworkModel = NetworkModel()
    limits: Limits = Limits()
    deadlines: Deadlines = Deadlines()
    announcements: AnnouncementTexts = AnnouncementTexts()
    price: Price | None = None
    """None: no cost is computed."""

    @property
    def says_words(self) -> bool:
        """Whether a recogniser can find words in its replies: tones and random weights have none."""
        return self.tts.says_words and not self.weightless

    @property
    def landing_ms(self) -> int:
        """How long after its first audio a reply gives way: `barge_in.landing_ms`, else the pace's, else 300."""
        given = (self.barge_in.landing_ms, self.endpointing.pace_landing_ms, DEFAULT_LANDING_MS)
        return next(value for value in given if value is not None)

    def engines(self) -> dict[EngineKind, EngineSettings]:
        """Return the settings of the engines that are loaded, by stage; the turn model only if the policy uses it."""
        ending = self.endpointing
        turn: dict[EngineKind, EngineSettings] = {}
        if ending.policy != "silence" and ending.model is not None:
            turn = {"turn": ending.model}
        return {"vad": self.vad, **turn, "stt": self.stt, "llm": self.llm, "tts": self.tts}

    @model_validator(mode="after")
    def _check_spares(self) -> Profile:
        engines = self.engines()
        for stage in self.deadlines.spares:
            settings = engines.get(stage)
            if settings is None:
                raise ValueError(f"deadlines.spares: {stage}: this profile loads no such engine; leave it out")
            if settings.own_process or settings.placement() in (Placement.REMOTE, Placement.OWN_PROCESS):
                raise ValueError(
                    f"deadlines.spares: {stage}: {settings.engine} works in another process, which is "
                    "started again, or watched by others; leave it out"
                )
        return self


def names() -> list[str]:
    """Return the names of the profiles that ship."""
    return documents.list_shipped(PROFILES)


def random_weights_note(data: Mapping[str, Any]) -> str:
    """Return the notes on random weights of the engines in a profile, given as data; "" if no known engine has one."""
    notes: list[str] = []
    for stage in ("stt", "llm", "tts"):
        try:
            notes.append(registry.find(stage, data[stage]["engine"]).note_on_random_weights(data[stage]))
        except (TurngapError, KeyError, TypeError):
            continue
    return "; ".join(filter(None, notes))


def format_override(override: str) -> str:
    """Return the override as the command line has it."""
    return f"--set {override!r}"


def load(name_or_path: str, overrides: tuple[str, ...] = ()) -> Profile:
    """Return the profile of that name, or in that file, with `section.key=value` overrides applied.

    Raises:
        ProfileError: it is unknown or malformed, or an override does not fit.
    """
    path = documents.locate(name_or_path, PROFILES, "profile", ProfileError)
    return change(documents.load(path, Profile, ProfileError), overrides)


def change(
    profile: Profile,
    overrides: tuple[str, ...],
    label: Callable[[str], str] = format_override,
    source: str = "--set",
) -> Profile:
    """Return the profile with `section.key=value` overrides applied.

    Errors name the override by `label`, and all of them by `source`.

    Raises:
        ProfileError: an override does not fit.
    """
    if not overrides:
        return profile
    data = profile.model_dump()
    for key in profile.endpointing.left_to_pace:  # an override may choose another pace, which sets them anew
        del data["endpointing"][key]
    for override in overrides:
        _apply(data, override, label(override))

    def origin(location: documents.Location) -> str:
        return " ".join(label(one) for one in overrides if _touches(one, location))

    text = yaml.safe_dump(data, sort_keys=False)
    return documents.parse(text, f"{profile.name} with {source}", Profile, ProfileError, origin)


def _touches(override: str, location: documents.Location) -> bool:
    """Whether the override's key is an ancestor of `location`, or below it."""
    key = override.partition("=")[0].strip().split(".")
    return all(part == str(other) for part, other in zip(key, location, strict=False))


def _apply(data: dict[str, Any], override: str, place: str) -> None:
    key, equals, value = override.partition("=")
    *sections, last = key.strip().split(".")
    target: Any = data
    for section in sections:
        if isinstance(target, dict) and section not in target:
            raise ProfileError(f"{place}: no section `{section}`{documents.list_choices(section, sorted(target))}")
        if isinstance(target, dict) and target[section] is None and equals and last:
            raise ProfileError(
                f"{place}: the profile has no `{section}`; give all of it: {section}={{{last}: {value}, ...}}"
            )
        target = target.get(section) if isinstance(target, dict) else None
    if not equals or not isinstance(target, dict) or not last:
        raise ProfileError(f"{place}: expected section.key=value, for example endpointing.min_silence_ms=200")
    try:
        target[last] = read_yaml(value)[1]
    except YamlTextError:
        raise ProfileError(f"{place}: {value[:200]!r} is not valid YAML") from None
