"""Which setting of a profile decides how long each part of an answer takes.

An engine says it of its own stages (`EngineSettings.governing`); the sections of the profile, whose keys do not depend
on an engine, are here. It reads profiles as data, so that older runs are understood too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turngap_agent.engines import EngineKind, registry
from turngap_agent.errors import TurngapError
from turngap_agent.tracing import Activity, Stage

ENGINE_OF: Mapping[Stage, EngineKind] = {
    Stage.TRANSCRIPTION: "stt",
    Stage.FIRST_TOKEN: "llm",
    Stage.FIRST_CLAUSE: "llm",
    Stage.FIRST_AUDIO: "tts",
    Stage.LEAD_IN: "tts",
}
"""The engine whose work each of these stages is."""
NO_SETTING: Mapping[Stage, str] = {
    Stage.FRAMING_IN: "the telephone's frames of 20 ms",
    Stage.TRANSPORT_IN: "the way from the caller to the agent, and the agent's load",
    Stage.ENCODING: "the agent's own code",
    Stage.TRANSPORT_OUT: "the way from the agent to the caller, and the agent's load",
}
"""What decides the stages that no setting does."""
_MAIN_KEYS = ("model", "architecture", "weights", "command", "engine")
"""The first of these that an engine has decides its speed most."""


@dataclass(frozen=True, slots=True)
class Owner:
    """What decides how long an activity takes."""

    setting: str
    """The setting by its key, such as `endpointing.min_silence_ms`; or, if none does, what else it is."""
    value: str = ""
    """Its value; "" if no setting decides."""

    @property
    def is_setting(self) -> bool:
        """Whether it can be changed in the profile."""
        return bool(self.value)


def find_owners(data: Mapping[str, Any]) -> dict[Activity, Owner]:
    """Return what decides each activity of the agent with this profile."""
    owners = {Activity(stage.value): Owner(text) for stage, text in NO_SETTING.items()}
    for stage, section in ENGINE_OF.items():
        owners[Activity(stage.value)] = _engine_owner(stage, section, data.get(section) or {})
    ending = data.get("endpointing") or {}
    early = "min_silence_ms" if ending.get("policy", "silence") != "speculative" else "provisional_ms"
    owners[Activity.PROVISIONAL_END] = _ending_owner(ending, early)
    owners[Activity.CONFIRMED_END] = _ending_owner(ending, "min_silence_ms")
    return owners


def _ending_owner(ending: Mapping[str, Any], key: str) -> Owner:
    return Owner(f"endpointing.{key}", str(ending.get(key, "its default")))


def _engine_owner(stage: Stage, section: EngineKind, settings: Mapping[str, Any]) -> Owner:
    if isinstance(replicated := settings.get("of"), Mapping):  # its settings decide, wherever it is
        owner = _engine_owner(stage, section, replicated)
        return Owner(owner.setting.replace(f"{section}.", f"{section}.of.", 1), owner.value)
    engine = str(settings.get("engine", ""))
    try:
        key = registry.find(section, engine).governing.get(stage)
    except TurngapError:  # the engine of a package that is not installed here
        key = None
    key = key or next((name for name in _MAIN_KEYS if settings.get(name) is not None), "engine")
    return Owner(f"{section}.{key}", str(settings.get(key, "its default")))
