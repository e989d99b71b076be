"""Engines: the work behind each stage. One class declares an engine; one registry finds it by stage and name.

An engine is declared by its settings class, a subclass of `SttSettings`, `LlmSettings`, `TtsSettings`, `VadSettings` or
`TurnSettings`. Its fields are the keys of the profile's section. Its methods say what must be installed, which weights
it needs, where it works, how much of a GPU it takes, and how it is built. The module that declares an engine must
import none of the engine's own packages.

`registry` lists the engines that ship and finds those that other packages add; docs/own-engine.md shows how to write
one.
"""

from __future__ import annotations

from turngap_agent.engines.gpu_memory import GpuMemory, gigabytes, weights_memory
from turngap_agent.engines.settings import (
    CoreSettings,
    EngineKind,
    EngineSettings,
    LlmSettings,
    LoadedEngine,
    Placement,
    StreamPriority,
    SttSettings,
    TtsSettings,
    TurnSettings,
    VadSettings,
    WholeSeconds,
)

__all__ = [
    "CoreSettings",
    "EngineKind",
    "EngineSettings",
    "GpuMemory",
    "LlmSettings",
    "LoadedEngine",
    "Placement",
    "StreamPriority",
    "SttSettings",
    "TtsSettings",
    "TurnSettings",
    "VadSettings",
    "WholeSeconds",
    "gigabytes",
    "weights_memory",
]
