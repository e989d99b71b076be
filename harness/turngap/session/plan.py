"""Plans a run: scenario, agent, budget, networks and calls are checked before anything starts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from turngap_agent.errors import RunFolderError, ScenarioError, UsageError
from turngap_agent.profile import Profile
from turngap_agent.tracing import parse_delay

from turngap import scenario as scenarios
from turngap.caller.dialects.answer import Answer, fetch_answer
from turngap.caller.dialects.registry import SIP, TWILIO, check_dialect
from turngap.caller.sip.signalling import check_installed
from turngap.corpus.clips import Corpus
from turngap.model.budget import PERCEIVED
from turngap.model.plural import plural
from turngap.model.result import RunRecord
from turngap.model.sip_url import is_sip_url, parse_sip_url
from turngap.model.span_mapping import SpanMapping
from turngap.network import NetworkProfile
from turngap.processes.agent import check_url
from turngap.scenario import Scenario
from turngap.session import network_plan
from turngap.session.nodes_plan import check_nodes_can_call
from turngap.session.request import DEFAULT_OPTIONS, Options, Request, Resumed
from turngap.session.run_documents import (
    DEFAULT_PROFILE,
    check_profile_names,
    hash_file,
    load_profile,
    locate_recorded_scenario,
    read_scenario,
    select_mapping,
)
from turngap.store import folder as store
from turngap.store.disk import FolderLock
from turngap.verdict import budget as budgets
from turngap.verdict.budget import Budget, Metric
from turngap.verdict.planned import list_planned
from turngap.verdict.stopping import turns_needed

HIGHEST_PORT, HIGHEST_NICENESS = 65_535, 19
AUDIO_BUDGET = "edge500-audio"
"""The shipped budget that needs no spans."""


def plan_run(
    scenario: Scenario | Path | str,
    *,
    profile: Profile | Path | str | None = None,
    overrides: tuple[str, ...] = (),
    url: str | None = None,
    budget: Budget | Path | str | None = None,
    networks: Sequence[NetworkProfile | Path | str] = (),
    spans: SpanMapping | Path | str | None = None,
    options: Options = DEFAULT_OPTIONS,
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


ALSO_A_WEBHOOK = ", or the http:// or https:// URL of a webhook that names it, or sip:USER@HOST"


def _find_socket(url: str, dialect: str | None, scenario_dialect: str | None = None) -> Answer:
    """Return where and how the agent at `url` is called: its socket, or a webhook that names it.

    The scenario's dialect is that of a socket; a webhook says its own.

    Raises:
        UsageError: the URL is none, or there is no such dialect.
    """
    if is_sip_url(url):
        return _call_by_sip(url, dialect)
    is_webhook = url.startswith(("http://", "https://"))
    answer = fetch_answer(url) if is_webhook else Answer(TWILIO, check_url(url, ALSO_A_WEBHOOK))
    if dialect is None and not is_webhook:
        dialect = scenario_dialect
    return answer if dialect is None else replace(answer, dialect=check_dialect(dialect))


def _call_by_sip(url: str, dialect: str | None) -> Answer:
    if dialect is not None:
        raise UsageError(f"--dialect {dialect}: a sip: URL is called by SIP; drop one of them")
    parse_sip_url(url)
    check_installed()
    return Answer(SIP, url)


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


def plan_resumed_run(path: Path, options: Options = DEFAULT_OPTIONS) -> Request:
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
    if (path / store.LOAD).exists():
        raise RunFolderError(f"{path}: a point of a load is not resumed; measure it again with `turngap capacity`")
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
    check_nodes_can_call(request)
    if request.options.trace_worst < 0:
        raise UsageError(f"--trace-worst {request.options.trace_worst}: expected a number of turns, such as 3")
    if request.options.all_turns and request.budget is None:
        raise UsageError("--all-turns: a run without a budget calls all its turns anyway; drop it, or give --budget")
    if request.budget is not None and not request.scenario.gate:
        raise ScenarioError(
            f"{request.scenario_label}: no budget can be judged on it (it has no `gate: true`); use the scenario `gate`"
        )
    return request
