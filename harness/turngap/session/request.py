"""The plan of one run as data: what is called, whom, how, and what is left of a run that is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from turngap_agent.profile import Profile

from turngap.caller.dialects.registry import TWILIO
from turngap.model.result import RunRecord
from turngap.model.span_mapping import SpanMapping
from turngap.model.turn import TurnRecord
from turngap.network import NetworkProfile, telephone
from turngap.network.telephone import TelephoneNetwork
from turngap.scenario import PlannedCall, Scenario
from turngap.session.stopping import StoppingRule
from turngap.store.disk import FolderLock
from turngap.verdict.budget import Budget
from turngap.verdict.planned import list_planned
from turngap.verdict.replaced import CallPlan
from turngap.verdict.stopping import plan_run as plan_stopping


@dataclass(frozen=True, slots=True)
class Resumed:
    """The interrupted run that is resumed."""

    path: Path
    record: RunRecord
    turns: tuple[TurnRecord, ...]
    notes: tuple[str, ...]
    lock: FolderLock
    """No other process resumes the run meanwhile; whoever executes the request releases it."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the run is done; options of the command line."""

    seed: int | None = None
    n_turns: int | None = None
    out: Path = Path("results")
    inject: tuple[str, ...] = ()
    """Delays for the agent's stages, STAGE=MS."""
    otlp_port: int = 0
    """Where spans are received; 0 for a free port."""
    agent_nice: int = 0
    """Niceness of the agent: above 0 our own caller is more punctual, and the agent slower than it could be."""
    dialect: str | None = None
    """The wire format of the agent at the URL; None: Twilio's, or what its webhook answers."""
    all_turns: bool = False
    """Call all planned turns of a run with a budget, even once its verdict is decided."""
    trace_worst: int = 0
    """Write traces of so many of the slowest turns; what the agent's threads do is sampled for them."""
    ray: str = ""
    """Place the calls from the nodes of this Ray cluster, HOST:PORT, or `local`; "": from this process."""


DEFAULT_OPTIONS = Options()


@dataclass(frozen=True, slots=True)
class Request:
    """The plan of one run, checked."""

    scenario: Scenario
    scenario_path: Path
    """Its file; `scenario.yaml`, in the run's folder, where it was given as an object."""
    scenario_sha256: str
    profile: Profile | None
    """None for an agent that runs already, at `url`."""
    url: str | None
    calls: tuple[PlannedCall, ...]
    seed: int
    telephone_network: TelephoneNetwork
    """What the perceived gap adds to the turn gap."""
    budget: Budget | None = None
    options: Options = field(default_factory=Options)
    resumed: Resumed | None = None
    networks: tuple[NetworkProfile, ...] = ()
    """What is put between caller and agent: every utterance is called once under each. (): nothing."""
    mapping: SpanMapping | None = None
    """What the spans of the agent at `url` mean; None: they are ours, or there are none."""
    dialect: str = TWILIO
    """The wire format of the agent's socket."""
    stream_parameters: Mapping[str, str] = field(default_factory=dict)
    """What the agent's webhook passes on to its socket."""
    scenario_text: str | None = None
    """The scenario as the run's folder stores it, so that the run can be resumed; None: `scenario_path` has it."""

    @property
    def scenario_label(self) -> str:
        """The scenario in a message: its file, or its name."""
        return str(self.scenario_path) if self.scenario_text is None else f"scenario {self.scenario.name!r}"

    @property
    def planned_turns(self) -> int:
        """Turns to be scored."""
        return sum(len(call.scored_turns) for call in self.calls)

    @property
    def missing(self) -> tuple[PlannedCall, ...]:
        """The calls still to be placed, in order; always with the warm-up, because the agent is a new one."""
        turns = self.resumed.turns if self.resumed is not None else ()
        recorded = {(turn.call, turn.turn) for turn in turns}
        return tuple(
            call
            for call in self.calls
            if call.warm_up or any((call.index, turn) not in recorded for turn in range(len(call.turns)))
        )

    @property
    def call_plan(self) -> CallPlan:
        """The planned calls, for what is called again and when the run may stop."""
        return CallPlan.of(self.calls)

    def repeat_call(self, index: int) -> PlannedCall:
        """Return the call that is placed again under that number."""
        return replace(self.calls[index % len(self.calls)], index=index)

    def make_stopping_rule(self) -> StoppingRule | None:
        """Return when a run with a budget is decided before its planned turns; None: never. It takes a while to make.

        The run stops then, unless `all_turns`.
        """
        if self.budget is None:
            return None
        resumed = self.resumed
        planned = list_planned(self.calls)
        plan = plan_stopping(self.budget, planned) if resumed is None else resumed.record.stopping_plan
        if plan is None:  # a run of a version that judged all turns at once is judged so when it is resumed
            return None
        weightless = self.profile is not None and self.profile.weightless
        return StoppingRule(self.budget, plan, self.call_plan, weightless)

    @property
    def redraws_subset(self) -> bool:
        """Whether a seed of the user's own selects other turns of the scenario than the scenario's seed would."""
        return self.seed != self.scenario.seed and self.planned_utterances < len(self.scenario.turns)

    @property
    def planned_utterances(self) -> int:
        """Turns to be scored; under several networks each counts once."""
        return self.planned_turns // max(1, len(self.networks))

    @property
    def simultaneous_calls(self) -> int:
        """Calls at the same time: with a budget as many as the profile declares, else as the scenario states."""
        if self.budget is not None and self.profile is not None:
            return self.profile.limits.gated_calls
        return self.scenario.simultaneous_calls

    def network_ms(self, call: PlannedCall) -> float:
        """Return what the telephone network adds in that call: its delay by the call's place in the plan.

        A call that is placed again has that of the one that it replaces, and an utterance the same under each simulated
        network. A warm-up call has the median.
        """
        if call.warm_up:
            return telephone.delay_quantiles_ms(self.telephone_network, 0.5)[0]
        warm_ups, copies = sum(each.warm_up for each in self.calls), max(1, len(self.networks))
        delays_ms = telephone.plan_delays_ms(self.telephone_network, (len(self.calls) - warm_ups) // copies)
        return delays_ms[(call.index % len(self.calls) - warm_ups) // copies]

    @property
    def profile_name(self) -> str:
        """The profile, or `url`."""
        return self.profile.name if self.profile is not None else "url"

    @property
    def profile_data(self) -> dict[str, Any]:
        """The profile as data, for `run.json` and the agent; {} for an agent at a URL."""
        return self.profile.model_dump(mode="json") if self.profile is not None else {}

    def release_lock(self) -> None:
        """Let other processes resume the run."""
        if self.resumed is not None:
            self.resumed.lock.release()
