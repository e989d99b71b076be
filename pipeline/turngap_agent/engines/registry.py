"""The registry: every engine by stage and name. The only place that lists engines.

Engines of other packages are found by the entry point group `turngap_agent.engines`: the entry point's name is the
engine's, its value the settings class. Installed packages are searched only for a name that does not ship, and only the
package that has the name is imported, so that a broken one disturbs no other profile. If none has it, all are imported:
the error lists the engines of the stage, and only a settings class knows its stage.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib import metadata

from turngap_agent import documents
from turngap_agent.engines.settings import EngineKind, EngineSettings, engine_name
from turngap_agent.errors import EngineError, ProfileError

GROUP = "turngap_agent.engines"
SHIPPED: dict[EngineKind, dict[str, str]] = {
    "vad": {
        "silero": "turngap_agent.endpointing.silero.settings:SileroSettings",
        "energy": "turngap_agent.endpointing.energy:EnergySettings",
    },
    "turn": {
        "smart_turn": "turngap_agent.endpointing.smart_turn.settings:SmartTurnSettings",
        "words_and_melody": "turngap_agent.endpointing.words_and_melody.settings:WordsAndMelodySettings",
        "scripted": "turngap_agent.endpointing.scripted:ScriptedTurnSettings",
    },
    "stt": {
        "faster_whisper": "turngap_agent.stt.faster_whisper.settings:FasterWhisperSettings",
        "whisper": "turngap_agent.stt.whisper.settings:WhisperSettings",
        "scripted": "turngap_agent.stt.scripted:ScriptedSttSettings",
        "replicas": "turngap_agent.replicas.settings:ReplicatedSttSettings",
    },
    "llm": {
        "onnx": "turngap_agent.llm.onnx.settings:OnnxSettings",
        "vllm": "turngap_agent.llm.vllm.settings:VllmSettings",
        "gemma": "turngap_agent.llm.gemma.settings:GemmaSettings",
        "scripted": "turngap_agent.llm.scripted:ScriptedLlmSettings",
        "replicas": "turngap_agent.replicas.settings:ReplicatedLlmSettings",
    },
    "tts": {
        "hibari": "turngap_agent.tts.hibari.settings:HibariSettings",
        "csm": "turngap_agent.tts.csm.settings:CsmSettings",
        "scripted": "turngap_agent.tts.scripted:ScriptedTtsSettings",
        "replicas": "turngap_agent.replicas.settings:ReplicatedTtsSettings",
    },
}
"""The settings class of each engine that ships; imported when a profile names it."""


def find(stage: EngineKind, name: str) -> type[EngineSettings]:
    """The settings class of the engine `name` of that stage. The name of an engine that ships always means that one.

    Raises:
        ProfileError: no engine of that stage has the name; the message has the nearest one, and all there are.
        EngineError: an installed package offers the engine and is broken, or two packages offer it.
    """
    settings = _shipped(stage, name) if name in SHIPPED[stage] else _installed(stage, name)
    if settings is None:
        known = names(stage)
        near = documents.find_nearest(name, known, documents.NEAR_KEY)
        hint = f" (did you mean `{near}`?)" if near is not None else ""
        raise ProfileError(f"no {stage} engine is called {name!r}{hint}; there are: {', '.join(known)}")
    return settings


def names(stage: EngineKind) -> list[str]:
    """The engines of that stage: those that ship, then those of installed packages. A broken package is left out."""
    others = []
    for entry in _entry_points():
        try:
            if _load(entry).stage == stage and entry.name not in SHIPPED[stage]:
                others.append(entry.name)
        except EngineError:
            continue
    return [*SHIPPED[stage], *sorted(set(others))]


@cache
def _entry_points() -> metadata.EntryPoints:
    return metadata.entry_points(group=GROUP)


@cache
def _shipped(stage: EngineKind, name: str) -> type[EngineSettings]:
    module, _, attribute = SHIPPED[stage][name].partition(":")
    settings: type[EngineSettings] = getattr(importlib.import_module(module), attribute)
    return settings


def _installed(stage: EngineKind, name: str) -> type[EngineSettings] | None:
    offered = {entry: _load(entry) for entry in _entry_points().select(name=name)}
    ours = [entry for entry, settings in offered.items() if settings.stage == stage]
    if len(ours) > 1:
        packages = " and ".join(sorted(_package(entry) for entry in ours))
        raise EngineError(f"{stage} engine {name!r} is offered by {packages}; uninstall one of them")
    return offered[ours[0]] if ours else None


def _load(entry: metadata.EntryPoint) -> type[EngineSettings]:
    """The settings class that an entry point names.

    Raises:
        EngineError: it cannot be imported, is no settings class of a stage, cannot be built, or has another name.
    """
    what = f"engine {entry.name!r} of {_package(entry)} ({entry.value})"
    try:
        settings = entry.load()
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise EngineError(f"{what} cannot be imported ({reason}); repair or uninstall that package") from error
    if not (isinstance(settings, type) and issubclass(settings, EngineSettings) and hasattr(settings, "stage")):
        raise EngineError(
            f"{what} is not a subclass of SttSettings, LlmSettings, TtsSettings, VadSettings or TurnSettings; "
            "repair or uninstall that package (docs/own-engine.md)"
        )
    if settings.build is EngineSettings.build:
        raise EngineError(f"{what} has no `build`; repair or uninstall that package (docs/own-engine.md)")
    if engine_name(settings) != entry.name:
        raise EngineError(
            f'{what} needs `engine: Literal["{entry.name}"]`, its entry point\'s name; repair or uninstall that package'
        )
    return settings


def _package(entry: metadata.EntryPoint) -> str:
    return f"package {entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unknown package"
