"""The options of a smoke run, and the plan that is made of them once they have been checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from turngap import scenario as scenarios
from turngap.live import safety
from turngap.live.credentials import Credentials
from turngap.live.fake.settings import FakeBehaviour, FakeSettings
from turngap.live.masking import Masker
from turngap.live.safety import Cost
from turngap.model.records import Clip
from turngap.scenario import PlannedCall, Scenario
from turngap.session.request import Request

AGENT_NUMBER, CALLER_NUMBER = "TURNGAP_AGENT_NUMBER", "TURNGAP_CALLER_NUMBER"
DEFAULT_SCENARIO = "smoke"
UTTERANCE_S, REPLY_S = 5.0, 6.0
"""Time for each turn, besides its pause and the wait for its answer, in a call's time limit."""
GREETING_MS = 3000
"""The first pause of a call to an unknown agent, which may speak first."""
MAX_TURNS = 200
DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8765


@dataclass(frozen=True, slots=True)
class SmokeOptions:
    """The options of `turngap smoke`."""

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
    fake_does: str = FakeBehaviour.ANSWERED.value


@dataclass(frozen=True, slots=True)
class SmokePlan:
    """A smoke run that has passed all checks."""

    request: Request
    """As for any run; `request.calls` are the telephone calls, in order."""
    echo: PlannedCall | None
    clips: Mapping[str, Clip] | None
    """None: clips are prepared from the scenario."""
    to: str = field(repr=False)
    from_: str = field(repr=False)
    caller_leg_only: bool
    """The agent's leg ends elsewhere, not on this host."""
    responder_delay_ms: float | None
    """The delay of the fixed-delay responder; None: an agent answers."""
    record: bool
    voicemail_check: bool
    time_limit_s: int
    cost: Cost
    credentials: Credentials
    public_url: str | None
    """None for a fake, which reaches the server locally."""
    host: str
    port: int
    ledger: Path | None
    """None for a fake, whose calls are recorded in a temporary ledger."""
    fake: FakeSettings | None
    masker: Masker

    @property
    def label(self) -> str:
        """What is measured, in one word."""
        if self.fake is not None and self.request.profile is None:
            return "fake"
        return "number" if self.caller_leg_only else self.request.profile_name


def assign_turns(scenario: Scenario, turns: int, calls: int, seed: int, *, greeted: bool) -> tuple[PlannedCall, ...]:
    """Spread `turns` turns of a scenario over `calls` calls, as evenly as possible.

    `greeted`: each call starts with a pause in which an unknown agent may greet the caller.
    """
    scenario = scenario.model_copy(update={"turns_per_call": 1, "depth": {}, "lead_ins": ()})
    selected = [call.turns[0] for call in scenarios.plan_calls(scenario, seed=seed, n_turns=turns) if not call.warm_up]
    planned = []
    for index in range(calls):
        first, end = turns * index // calls, turns * (index + 1) // calls
        share = selected[first:end]
        if greeted:
            share[0] = share[0].model_copy(update={"pause_ms": max(share[0].pause_ms, GREETING_MS)})
        planned.append(PlannedCall(index, tuple(share), probe=False))
    return tuple(planned)
