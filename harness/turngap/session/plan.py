"""The plan of a run: scenario, agent, budget, networks and calls, checked before anything starts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from turngap_agent.errors import RunFolderError, ScenarioError, UsageError
from turngap_agent.profile import Profile
from turngap_agent.tracing import parse_delay

from turngap import scenario as scenarios
from turngap.caller.dialects.answer import Answer, fetch_answer
from turngap.caller.dialects.registry import TWILIO, check_dialect
from turngap.corpus.clips import Corpus
from turngap.model.budget import PERCEIVED
from turngap.model.plural import plural
from turngap.model.result import RunRecord
from turngap.model.span_mapping import SpanMapping
from turngap.model.turn import TurnRecord
from turngap.network import NetworkProfile, telephone
from turngap.network.telephone import TelephoneNetwork
from turngap.processes.agent import check_url
from turngap.scenario import PlannedCall, Scenario
from turngap.session import network_plan
from turngap.session.run_documents import (
    DEFAULT_PROFILE,
    check_profile_names,
    hash_file,
    load_profile,
    locate_recorded_scenario,
    read_scenario,
    select_mapping,
)
from turngap.session.stopping import StoppingRule
from turngap.store import folder as store
from turngap.store.disk import FolderLock
from turngap.verdict import budget as budgets
from turngap.verdict.budget import Budget, Metric
from turngap.verdict.planned import list_planned
from turngap.verdict.replaced import CallPlan
from turngap.verdict.stopping import plan_run as plan_stopping
from turngap.verdict.stopping import turns_needed

HIGHEST_PORT, HIGHEST_NICENESS = 65_535, 19
AUDIO_BUDGET = "edge500-audio"
"""The shipped budget that needs no spans."""


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

    def release_lock(self) -> None:
        """Let other processes resume the run."""
        if self.resumed is not None:
            self.resumed.lock.release()


def plan_run(
    scenario: Scenario | Path | str,
    *,
    profile: Profile | Path | str | None = None,
    overrides: tuple[str, ...] = (),
    url: str | None = None,
    budget: Budget | Path | str | None = None,
    networks: Sequence[NetworkProfile | Path | str] = (),
    spans: SpanMapping | Path | str | None = None,
    options: Options = Options(),
) -> Request:
    """Check the arguments and return the plan. Each document is an object, a file, or the name of one that ships.

    With `networks` every utterance is called under each of them. `spans` says what the spans of the agent at `url`
    mean; by default the scenario says it. Audio files of a scenario given as an object are relative to the working
    folder.

    Raises:
        UsageError: (or a subclass) something does not fit; nothing was started.
    """
    if url is not None and (profile is not None or overrides or options.inject):
        raise UsageError("--url measures an agent that runs already: drop --profile, --set and --inject")
    if url is None and spans is not None:
        raise UsageError("--spans is for an agent of another framework, at a --url; a profile's agent needs none")
    if url is None and options.dialect is not None:
        raise UsageError("--dialect is that of an agent that runs already, at --url; ours speaks Twilio's")
    checked, path, text = read_scenario(scenario)
    agent = load_profile(checked, path, profile or DEFAULT_PROFILE, overrides) if url is None else None
    answer = _find_socket(url, options.dialect, checked.dialect) if url is not None else None
    check_profile_names(checked, path, agent.name if agent is not None else None)
    seed = checked.seed if options.seed is None else options.seed
    simulated = network_plan.select_networks(networks, checked, path)
    judged = budget if budget is None or isinstance(budget, Budget) else budgets.load_budget(str(budget))
    request = Request(
        scenario=checked,
        scenario_path=path or Path(store.SCENARIO),
        scenario_sha256=hash_file(path) if path is not None else hashlib.sha256((text or "").encode()).hexdigest(),
        profile=agent,
        url=answer.url if answer is not None else None,
        dialect=answer.dialect if answer is not None else TWILIO,
        stream_parameters=answer.parameters if answer is not None else {},
        calls=network_plan.assign_networks(
            scenarios.plan_calls(checked, seed=seed, n_turns=options.n_turns), simulated
        ),
        seed=seed,
        telephone_network=network_plan.select_telephone_network(judged, agent),
        budget=judged,
        options=options,
        networks=simulated,
        mapping=select_mapping(spans, checked, path) if url is not None else None,
        scenario_text=text,
    )
    return _check_limits(request)


ALSO_A_WEBHOOK = ", or the http:// or https:// URL of a webhook that names it"


def _find_socket(url: str, dialect: str | None, scenario_dialect: str | None = None) -> Answer:
    """Return where and how the agent at `url` is called: its socket, or a webhook that names it.

    The scenario's dialect is that of a socket; a webhook says its own.

    Raises:
        UsageError: the URL is none, or there is no such dialect.
    """
    is_webhook = url.startswith(("http://", "https://"))
    answer = fetch_answer(url) if is_webhook else Answer(TWILIO, check_url(url, ALSO_A_WEBHOOK))
    if dialect is None and not is_webhook:
        dialect = scenario_dialect
    return answer if dialect is None else replace(answer, dialect=check_dialect(dialect))


def list_warnings(request: Request) -> list[str]:
    """Return why the run cannot reach a verdict, or may not, as far as known before the first call; a sentence each."""
    if request.budget is None:
        return []
    sentences = []
    name = request.budget.name
    needed = turns_needed(request.budget, list_planned(request.calls))
    if request.planned_turns < needed:
        every = scenarios.plan_calls(request.scenario, seed=request.seed)
        needed = max(request.planned_turns + 1, turns_needed(request.budget, list_planned(every)))
        sentences.append(
            f"a verdict on budget {name} needs at least {plural(needed, 'turn')}, and {request.planned_turns} "
            f"{'is' if request.planned_turns == 1 else 'are'} planned: the run will be INVALID; raise --turns, or drop "
            "--budget to measure only"
        )
    metrics = budgets.metrics_from_spans(request.budget)
    if request.url is not None and metrics:
        listed = ", ".join(f"`{metric}`" for metric in metrics)
        sentences.append(
            f"budget {name} limits {listed}, which only the agent's OpenTelemetry spans show: if the agent sends none, "
            "the run can pass only if its replies are transcribed (pip install 'turngap[cpu]'), and says that these "
            f"were not judged; the budget {AUDIO_BUDGET} limits only what is heard"
        )
    return sentences


def plan_resumed_run(path: Path, options: Options = Options()) -> Request:
    """Return the missing calls of the interrupted run in that folder as a plan.

    Raises:
        RunFolderError: it is not a run folder, belongs to a live run, is complete or being written, or its scenario
            has changed.
    """
    store.read_run(path)  # a folder that is no run's gets no lock file
    lock = FolderLock(path)
    try:
        return _plan_rest(path, lock, options)
    except BaseException:
        lock.release()  # the traceback keeps it alive
        raise


def _plan_rest(path: Path, lock: FolderLock, options: Options) -> Request:
    run = store.read_run(path)
    record = run.record
    if record.live is not None or record.resume_state.live:
        raise RunFolderError(f"{path}: a live run is not resumed; run `turngap smoke` again")
    if record.complete:
        raise RunFolderError(
            f"{path}: the run is complete ({plural(record.n_turns, 'turn')}); there is nothing to resume"
        )
    scenario_path = locate_recorded_scenario(path, record.scenario_path, record.scenario_sha256)
    read = scenarios.load_scenario_file(scenario_path)
    if hash_file(scenario_path) != record.scenario_sha256:
        raise RunFolderError(f"{path}: {scenario_path} has changed since the run began; start a new run")
    ours = record.profile != "url"
    state = record.resume_state
    simulated = tuple(record.networks.values())
    utterances = _count_utterances(record)
    profile = Profile.model_validate(record.profile_data) if ours else None
    request = Request(
        scenario=read,
        # Relative where the folder stores the scenario, as in its record.
        scenario_path=Path(record.scenario_path) if scenario_path == path / record.scenario_path else scenario_path,
        scenario_sha256=record.scenario_sha256,
        profile=profile,
        url=None if ours else record.agent.url,
        dialect=record.agent.dialect,
        calls=network_plan.assign_networks(scenarios.plan_calls(read, seed=record.seed, n_turns=utterances), simulated),
        seed=record.seed,
        telephone_network=record.telephone.network
        if record.telephone is not None
        else network_plan.select_telephone_network(record.budget, profile),
        budget=record.budget,
        options=replace(
            options, out=path.parent, inject=state.inject, agent_nice=state.agent_nice, all_turns=state.all_turns
        ),
        resumed=Resumed(path, record, run.turns, run.notes, lock),
        networks=simulated,
        mapping=record.spans,
    )
    return _check_limits(request)


def _count_utterances(record: RunRecord) -> int:
    """Return how many utterances a run was planned with; under several networks each was planned once under each."""
    return record.planned_turns // max(1, len(record.networks))


def with_corpus(request: Request, corpus: Corpus) -> Request:
    """Return the request without the turns that have no usable clip.

    Raises:
        RunFolderError: the resumed run started with another corpus.
    """
    n_turns = request.options.n_turns
    if request.resumed is not None:
        n_turns = _count_utterances(request.resumed.record)
    planned = scenarios.plan_calls(corpus.scenario, seed=request.seed, n_turns=n_turns)
    calls = network_plan.assign_networks(planned, request.networks)
    planned_utterances = {(call.index, place): turn.key for call in calls for place, turn in enumerate(call.turns)}
    for turn in request.resumed.turns if request.resumed is not None else ():
        if turn.warm_up:
            continue  # nothing depends on what it said
        if planned_utterances.get((turn.call % len(calls), turn.turn)) != turn.utterance_id:
            assert request.resumed is not None
            raise RunFolderError(
                f"{request.resumed.path}: call {turn.call} said {turn.utterance_id!r} when the run began, which the "
                "corpus no longer has there; start a new run"
            )
    return replace(request, scenario=corpus.scenario, calls=calls)


def profile_data(request: Request) -> dict[str, Any]:
    """Return the profile as data, for `run.json` and the agent."""
    return request.profile.model_dump(mode="json") if request.profile is not None else {}


def _check_limits(request: Request) -> Request:
    limit = request.profile.limits.simultaneous_calls if request.profile is not None else None
    n_calls = request.simultaneous_calls
    for value, name, highest in (
        (request.seed, "seed", None),
        (request.options.otlp_port, "otlp_port", HIGHEST_PORT),
        (request.options.agent_nice, "nice", HIGHEST_NICENESS),
    ):
        if value < 0 or (highest is not None and value > highest):
            limits = "0 or more" if highest is None else f"from 0 to {highest}"
            raise UsageError(f"{name} {value}: it must be {limits}")
    for delay in request.options.inject:
        parse_delay(delay)
    if limit is not None and n_calls > limit:
        raise ScenarioError(
            f"{request.scenario_label}: {n_calls} simultaneous calls, profile {request.profile_name!r} takes {limit}; "
            f"lower one, or give --set limits.simultaneous_calls={n_calls}"
        )
    if request.mapping is not None and request.mapping.call.attribute is None and n_calls > 1:
        raise ScenarioError(
            f"{request.scenario_label}: {n_calls} simultaneous calls, and mapping {request.mapping.name!r} cannot tell "
            "whose spans are whose: let the agent send the call's id and name it as `call.attribute`, or place one "
            "call at a time"
        )
    if request.budget is not None and len(request.networks) > 1:
        names = ", ".join(network.name for network in request.networks)
        raise UsageError(
            f"a budget is judged under one network, not under {names}: give --network once, or no --budget"
        )
    adding = next((network.name for network in request.networks if not network.does_nothing), None)
    limited = () if request.budget is None else (limit.metric for limit in request.budget.limits)
    if request.budget is not None and adding is not None and not PERCEIVED.isdisjoint(limited):
        raise UsageError(
            f"budget {request.budget.name!r} limits the perceived gap, whose network model would come on top of the "
            f"simulated network {adding!r}: drop one, or limit `{Metric.TURN_GAP}` as the budget edge500 does"
        )
    if request.budget is not None and request.resumed is None and request.seed != request.scenario.seed:
        raise UsageError(
            f"--seed {request.seed}: a budget is judged in the order of the scenario's own seed, "
            f"{request.scenario.seed}: another one selects other turns to decide the run: drop --seed or --budget",
            code="usage.seed",
        )
    if request.options.trace_worst < 0:
        raise UsageError(f"--trace-worst {request.options.trace_worst}: expected a number of turns, such as 3")
    if request.options.all_turns and request.budget is None:
        raise UsageError("--all-turns: a run without a budget calls all its turns anyway; drop it, or give --budget")
    if request.budget is not None and not request.scenario.gate:
        raise ScenarioError(
            f"{request.scenario_label}: no budget can be judged on it (it has no `gate: true`); use the scenario `gate`"
        )
    return request
