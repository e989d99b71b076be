"""What all calls of an agent share."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.engines import Engines
from pipeline.inject import Injection
from pipeline.profile import Profile
from pipeline.telemetry.metrics import Metrics
from pipeline.telemetry.recorder import TraceSink


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
