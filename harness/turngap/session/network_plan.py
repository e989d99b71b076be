"""Assigns simulated networks to a run's calls: every utterance is called once under each network.

The networks alternate from call to call, so that what changes slowly on the host affects all of them alike. Warm-up
calls are made without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from turngap_agent.errors import ScenarioError, UsageError

from turngap import network
from turngap.model.turn import TurnRecord
from turngap.network import NetworkProfile
from turngap.scenario import PlannedCall, Scenario


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
