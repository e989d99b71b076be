"""The networks of a run: what a telephone network adds to the gap, and simulated networks between caller and agent.

Every utterance is called once under each simulated network. They alternate from call to call, so that what changes
slowly on the host affects all of them alike. Warm-up calls are made without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from turngap_agent.errors import RunFolderError, ScenarioError, UsageError
from turngap_agent.profile import Profile
from turngap_agent.profile.sections import NO_DELAY, NetworkModel

from turngap import network
from turngap.model.budget import Budget
from turngap.model.turn import TurnRecord
from turngap.network import NetworkProfile, telephone
from turngap.network.telephone import TelephoneNetwork
from turngap.scenario import PlannedCall, Scenario
from turngap.store import folder as store

LEAST_MEASURED = 10
"""A live run with fewer measured turns says too little about the spread of the delay."""


def select_telephone_network(budget: Budget | None, profile: Profile | None) -> TelephoneNetwork:
    """Return the telephone network of a run: the budget's, else the profile's, else the default one.

    Raises:
        ScenarioError: the preset is unknown or its file malformed.
        RunFolderError: the live run is no run folder, or measured too few turns.
    """
    if budget is not None and budget.network is not None:
        return resolve_network_model(budget.network, f"budget {budget.name}")
    return resolve_network_model(profile.network if profile is not None else NetworkModel(), "profile")


def resolve_network_model(model: NetworkModel, owner: str) -> TelephoneNetwork:
    """Return what a network model stands for; `owner` names the document that has its legs.

    Raises:
        ScenarioError: the preset is unknown or its file malformed.
        RunFolderError: the live run is no run folder, or measured too few turns.
    """
    if model.live_run:
        return _measured_network(Path(model.live_run))
    if not model.has_legs:
        return telephone.load_telephone_network(model.preset or telephone.DEFAULT)
    return TelephoneNetwork(
        name="own",
        source=f"the legs in the {owner}",
        in_ms=model.in_ms or NO_DELAY,
        out_ms=model.out_ms or NO_DELAY,
        buffering_ms=model.buffering_ms or NO_DELAY,
        decode_ms=model.decode_ms or NO_DELAY,
    )


def _measured_network(path: Path) -> TelephoneNetwork:
    """Return the delays of a live run: mouth to ear less the gap at the agent's media edge, turn by turn."""
    run = store.read_run(path)
    legs = [turn.live for turn in run.turns if turn.is_valid and turn.is_good and turn.live is not None]
    delays = [
        leg.total_ms - leg.server_gap_ms for leg in legs if leg.total_ms is not None and leg.server_gap_ms is not None
    ]
    if len(delays) < LEAST_MEASURED:
        raise RunFolderError(
            f"{path}: {len(delays)} turns with measured legs, {LEAST_MEASURED} are needed for a telephone network: "
            "place more live calls (`turngap smoke`), or name a preset"
        )
    where = "a fake Twilio" if run.record.live is not None and run.record.live.fake else "live calls"
    return TelephoneNetwork(
        name="measured",
        source=f"measured on {where}, {len(delays)} turns of run {run.record.run_id}",
        measured_ms=tuple(round(max(0.0, delay), 3) for delay in delays),
    )


def select_networks(
    networks: Sequence[NetworkProfile | Path | str], scenario: Scenario, path: Path | None
) -> tuple[NetworkProfile, ...]:
    """Return the networks given as objects, names or files; without any, the scenario's own, or ().

    `path` is the scenario's file: a network file that it names is relative to its folder; without a file, to the
    working folder.

    Raises:
        ScenarioError: a network is unknown or malformed.
        UsageError: two have the same name.
    """
    if not networks and scenario.network is not None:
        file = (path.parent if path is not None else Path.cwd()) / scenario.network
        try:
            return (network.load_network(str(file) if file.suffix in (".yaml", ".yml") else scenario.network),)
        except ScenarioError as error:
            raise ScenarioError(f"{path or scenario.name}: `network`: {error}", code=error.code) from None
    selected = tuple(
        profile if isinstance(profile, NetworkProfile) else network.load_network(str(profile)) for profile in networks
    )
    names = [profile.name for profile in selected]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise UsageError(f"--network: two networks are called {double!r}; give each one once")
    return selected


def assign_networks(calls: Sequence[PlannedCall], networks: Sequence[NetworkProfile]) -> tuple[PlannedCall, ...]:
    """Return the calls numbered from 0: warm-up calls once, the others once under each network.

    The network that comes first rotates from utterance to utterance.
    """
    assigned: list[PlannedCall] = [call for call in calls if call.warm_up]
    for place, call in enumerate(call for call in calls if not call.warm_up):
        if not networks:
            assigned.append(call)
        first = place % max(1, len(networks))
        assigned += [replace(call, network=profile) for profile in (*networks[first:], *networks[:first])]
    return tuple(replace(call, index=index) for index, call in enumerate(assigned))


def with_network_name(turn: TurnRecord, name: str) -> TurnRecord:
    """Return the turn with its network's name; "" and `clean` leave it as it is."""
    return turn if not name or name == network.CLEAN else turn.model_copy(update={"network": name})


def network_notes(networks: Sequence[NetworkProfile]) -> list[str]:
    """Return at most one line: what a reader of the run's figures must know of its networks."""
    if all(network.does_nothing for network in networks):
        return []
    if len(networks) == 1:
        return [f"made under the simulated network {networks[0].name!r}: what it adds is part of every gap"]
    names = ", ".join(network.name for network in networks)
    return [f"every utterance was called under each of the networks {names}: figures over all turns mix them"]
