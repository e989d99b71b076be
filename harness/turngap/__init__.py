"""The instrument: places calls, listens as the caller does, and explains the turn gap.

`turngap.run` measures an agent and returns a `Run`; docs/api.md describes every name here. Each is imported on first
use, so that `import turngap` costs nothing. The instrument never shares an interpreter with what it measures; from
`turngap_agent` it imports only the vocabulary: `telephony`, `tracing`, `profile`, `documents`, `errors` and
`command_line`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turngap_agent.errors import (
        AgentError,
        HarnessError,
        ProfileError,
        RunFolderError,
        ScenarioError,
        TurngapError,
        UsageError,
        WeightsError,
    )
    from turngap_agent.profile import Profile

    from turngap.api import (
        Agent,
        Calibration,
        ProgressDisplay,
        arun,
        calibrate,
        compare,
        load,
        load_sweep,
        resume,
        resume_sweep,
        run,
        sweep,
    )
    from turngap.api.capacity import Capacity, load_capacity, measure_capacity
    from turngap.api.recordings import measure_recordings
    from turngap.api.results import Run, RunComparison, Sweep
    from turngap.model.result import Verdict
    from turngap.network import NetworkProfile as Network
    from turngap.network.profile import Direction
    from turngap.scenario import Noise, Scenario, Turn
    from turngap.verdict.budget import Budget, Limit

_MODULES = {
    "turngap.api": (
        "Agent", "Calibration", "ProgressDisplay", "arun", "calibrate", "compare", "load", "load_sweep", "resume",
        "resume_sweep", "run", "sweep",
    ),
    "turngap.api.capacity": ("Capacity", "load_capacity", "measure_capacity"),
    "turngap.api.recordings": ("measure_recordings",),
    "turngap.api.results": ("Run", "RunComparison", "Sweep"),
    "turngap.model.result": ("Verdict",),
    "turngap.network": ("Network",),
    "turngap.network.profile": ("Direction",),
    "turngap.scenario": ("Noise", "Scenario", "Turn"),
    "turngap.verdict.budget": ("Budget", "Limit"),
    "turngap_agent.errors": (
        "AgentError", "HarnessError", "ProfileError", "RunFolderError", "ScenarioError", "TurngapError", "UsageError",
        "WeightsError",
    ),
    "turngap_agent.profile": ("Profile",),
}  # fmt: skip
_OTHER_NAMES = {"Network": "NetworkProfile"}

__all__ = [
    "Agent",
    "AgentError",
    "Budget",
    "Calibration",
    "Capacity",
    "Direction",
    "HarnessError",
    "Limit",
    "Network",
    "Noise",
    "Profile",
    "ProfileError",
    "ProgressDisplay",
    "Run",
    "RunComparison",
    "RunFolderError",
    "Scenario",
    "ScenarioError",
    "Sweep",
    "Turn",
    "TurngapError",
    "UsageError",
    "Verdict",
    "WeightsError",
    "arun",
    "calibrate",
    "compare",
    "load",
    "load_capacity",
    "load_sweep",
    "measure_capacity",
    "measure_recordings",
    "resume",
    "resume_sweep",
    "run",
    "sweep",
]


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            value = getattr(import_module(module), _OTHER_NAMES.get(name, name))
            globals()[name] = value
            return value
    raise AttributeError(f"module 'turngap' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
