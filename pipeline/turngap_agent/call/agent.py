"""What all calls of an agent share."""

from __future__ import annotations

from dataclasses import dataclass

from turngap_agent.inject import Injection
from turngap_agent.loading import Engines
from turngap_agent.profile import Profile
from turngap_agent.telemetry.metrics import Metrics
from turngap_agent.telemetry.recorder import TraceSink


@dataclass(frozen=True, slots=True)
class Agent:
    """Its profile and engines, and where what happens is told."""

    profile: Profile
    engines: Engines
    injection: Injection
    metrics: Metrics
    exporter: TraceSink | None
    live_spans: bool = False
    """Spans leave as each attempt ends, for one who watches; else as the call ends, so that no turn pays for it."""
