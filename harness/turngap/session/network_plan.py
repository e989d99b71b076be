"""Which network each call of a run is made under: every utterance once under each, calls interleaved.

Interleaved, so that whatever changes slowly on the host falls on all networks alike. Warm-up calls are made under none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from turngap_agent.errors import ScenarioError, UsageError

from turngap import network
from turngap.model.turn import TurnRecord
from turngap.network import NetworkProfile
from turngap.scenario import PlannedCall, Scenario


def chosen(
    given: Sequence[NetworkProfile | Path | str], scenario: Scenario, path: Path | None
) -> tuple[NetworkProfile, ...]:
    """The networks given as objects, names or files, else the scenario's own; () where neither names one.

    `path` is the scenario's file: a network file that it names is relative to its folder; without a file, to the
    working folder.

    Raises:
        ScenarioError: one is unknown or malformed.
        UsageError: two go by one name.
    """
    if not given and scenario.network is not None:
        beside = (path.parent if path is not None else Path.cwd()) / scenario.network
        try:
            return (network.load(str(beside) if beside.suffix in (".yaml", ".yml") else scenario.network),)
        except ScenarioError as fault:
            raise ScenarioError(f"{path or scenario.name}: `network`: {fault}") from None
    found = tuple(one if isinstance(one, NetworkProfile) else network.load(str(one)) for one in given)
    names = [one.name for one in found]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise UsageError(f"--network: two networks are called {double!r}; give each one once")
    return found


def read_back(stored: Mapping[str, Mapping[str, Any]]) -> tuple[NetworkProfile, ...]:
    """The networks of a run, from its `run.json`."""
    return tuple(NetworkProfile.model_validate(data) for data in stored.values())


def spread(calls: Sequence[PlannedCall], networks: int) -> tuple[PlannedCall, ...]:
    """The calls, each scored one as often as there are networks; numbered anew."""
    copies = [call for call in calls for _ in range(1 if call.warm_up else max(1, networks))]
    return tuple(replace(call, index=index) for index, call in enumerate(copies))


def of_call(
    call: PlannedCall, calls: Sequence[PlannedCall], networks: Sequence[NetworkProfile]
) -> NetworkProfile | None:
    """The network of one of the calls that `spread` gave; None: nothing is put in the way.

    Which of them goes first turns round from utterance to utterance.
    """
    if call.warm_up or not networks:
        return None
    utterance, copy = divmod(call.index - sum(other.warm_up for other in calls), len(networks))
    return networks[(utterance + copy) % len(networks)]


def named(turn: TurnRecord, name: str) -> TurnRecord:
    """The turn with its network's name; "" and `clean` leave it as it is."""
    return turn if not name or name == network.CLEAN else turn.model_copy(update={"network": name})


def notes(networks: Sequence[NetworkProfile]) -> list[str]:
    """What a reader of the run's figures has to know: a line, or none."""
    if all(network.does_nothing for network in networks):
        return []
    if len(networks) == 1:
        return [f"made under the simulated network {networks[0].name!r}: what it adds is part of every gap"]
    names = ", ".join(network.name for network in networks)
    return [f"every utterance was called under each of the networks {names}: figures over all turns mix them"]
