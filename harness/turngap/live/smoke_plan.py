"""What a smoke run is asked to do: the command line as it was given, and the order that came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from turngap import scenario as scenarios
from turngap.live import safety
from turngap.live.credentials import Credentials
from turngap.live.fake.settings import Behaviour, FakeSettings
from turngap.live.masking import Masker
from turngap.live.safety import Cost
from turngap.model.records import Clip
from turngap.scenario import PlannedCall, Scenario
from turngap.session.plan import Request

AGENT_NUMBER, CALLER_NUMBER = "TURNGAP_AGENT_NUMBER", "TURNGAP_CALLER_NUMBER"
DEFAULT_SCENARIO = "smoke"
UTTERANCE_S, REPLY_S = 5.0, 6.0
"""Allowed for each turn beside its pause and the wait for its answer; the time limit has half a minute to spare."""
GREETING_MS = 3000
"""Somebody else's agent may speak first."""
MAX_TURNS = 200
DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8765


@dataclass(frozen=True, slots=True)
class SmokeOptions:
    """The command line."""

    to: str | None = None
    from_: str | None = None
    confirm: str | None = None
    public_url: str | None = None
    host: str = DEFAULT_HOST
    port: int | None = None
    allow: Path | None = None
    profile: str | None = None
    overrides: tuple[str, ...] = ()
    scenario: str | None = None
    turns: int = 3
    calls: int = 1
    echo: bool = False
    record: bool = False
    voicemail_check: bool = True
    price_usd: float = safety.DEFAULT_PRICE_USD
    max_usd: float = safety.DEFAULT_MAX_COST_USD
    in_ci: bool = False
    seed: int = 1
    out: Path = Path("results")
    fake: bool = False
    uplink_ms: float = 0.0
    downlink_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    network: str | None = None
    agent_ms: float = 300.0
    fake_does: str = Behaviour.ANSWERED.value


@dataclass(frozen=True, slots=True)
class SmokePlan:
    """A smoke run that may be done."""

    request: Request
    """As for any run; `request.calls` are the telephone calls, in their order."""
    echo: PlannedCall | None
    clips: Mapping[str, Clip] | None
    """None: they are made of the scenario."""
    to: str = field(repr=False)
    from_: str = field(repr=False)
    alone: bool
    """Only the caller's leg is here."""
    answers_ms: float | None
    """The delay of the agent of known delay; None: the profile's agent, or somebody else's."""
    record: bool
    voicemail_check: bool
    time_limit_s: int
    cost: Cost
    credentials: Credentials
    public_url: str | None
    """None: of the fake."""
    host: str
    port: int
    ledger: Path | None
    """None: of the fake, whose calls are entered nowhere that lasts."""
    fake: FakeSettings | None
    masker: Masker

    @property
    def label(self) -> str:
        """What is measured, in a word or two."""
        if self.fake is not None and self.request.profile is None:
            return "fake"
        return "number" if self.alone else self.request.profile_name


def assign_turns(scenario: Scenario, turns: int, calls: int, seed: int, *, greeted: bool) -> tuple[PlannedCall, ...]:
    """That many turns of a scenario in that many calls, as even as can be."""
    scenario = scenario.model_copy(update={"turns_per_call": 1})
    said = [call.turns[0] for call in scenarios.plan(scenario, seed=seed, n_turns=turns) if not call.warm_up]
    found = []
    for index in range(calls):
        first, beyond = turns * index // calls, turns * (index + 1) // calls
        share = said[first:beyond]
        if greeted:
            share[0] = share[0].model_copy(update={"pause_ms": max(share[0].pause_ms, GREETING_MS)})
        found.append(PlannedCall(index, tuple(share), probe=False))
    return tuple(found)
