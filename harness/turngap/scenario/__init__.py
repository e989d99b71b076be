"""Scenarios: what callers say, in which calls, on what line, and what is expected of each turn."""

from turngap.scenario.calls import QUIET_MS, PlannedCall, plan
from turngap.scenario.line import CLEAN, Echo, Line
from turngap.scenario.model import SUFFIX, Scenario, load, with_audio_from
from turngap.scenario.turn import PAUSE_MS, Expectation, Noise, Turn

__all__ = [
    "CLEAN",
    "PAUSE_MS",
    "QUIET_MS",
    "SUFFIX",
    "Echo",
    "Expectation",
    "Line",
    "Noise",
    "PlannedCall",
    "Scenario",
    "Turn",
    "load",
    "plan",
    "with_audio_from",
]
