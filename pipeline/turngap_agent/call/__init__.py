"""One phone call: hear the caller, decide whose turn it is, answer, and play the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from turngap_agent.deadlines import Overseer
from turngap_agent.inject import Injection
from turngap_agent.loading import Engines
from turngap_agent.profile import Profile
from turngap_agent.telemetry.metrics import Metrics
from turngap_agent.telemetry.recorder import TraceSink


@dataclass(frozen=True, slots=True)
class Agent:
    """What all calls of an agent share: profile, engines, and where spans and metrics go."""

    profile: Profile
    engines: Engines
    injection: Injection
    metrics: Metrics
    exporter: TraceSink | None
    live_spans: bool = False
    """Send spans as each attempt ends, for a live display; otherwise as the call ends, so that no turn pays for it."""
    announcements: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    """By occasion (`call.announcements`), the payloads of sentences that were spoken at the start."""
    overseer: Overseer = field(default_factory=Overseer)
    """Hears of the engines' faults, and replaces those that are stuck."""
