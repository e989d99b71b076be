"""Scenarios: what callers say, in which calls, over what line, and what the agent is expected to do about each turn."""

from turngap.scenario.calls import QUIET_MS, PlannedCall, plan_calls
from turngap.scenario.model import (
    NO_IMPAIRMENTS,
    SUFFIX,
    Echo,
    LineImpairments,
    Scenario,
    load_scenario_file,
    resolve_audio,
)
from turngap.scenario.turn import PAUSE_MS, Expectation, Noise, Turn

__all__ = [
    "NO_IMPAIRMENTS",
    "PAUSE_MS",
    "QUIET_MS",
    "SUFFIX",
    "Echo",
    "Expectation",
    "LineImpairments",
    "Noise",
    "PlannedCall",
    "Scenario",
    "Turn",
    "load_scenario_file",
    "plan_calls",
    "resolve_audio",
]
