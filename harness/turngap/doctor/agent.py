"""Checks of a profile's agent: packages, weights and the room for them, as the agent's own program tells."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turngap_agent.errors import AgentError

from turngap.doctor.checks import Check, Group, State
from turngap.doctor.disk import count_free_bytes
from turngap.processes import child

_TIMEOUT_S = 60.0
_HUB_TOKEN = "HF_TOKEN"


@dataclass(frozen=True, slots=True)
class Weights:
    """One model that the profile needs."""

    name: str
    size: int
    """Bytes."""
    licence: str
    gated: bool
    """Fetched only by a user who has accepted its licence and is logged in."""
    here: bool
    problem: str | None
    """Why the copy in the cache cannot be used."""


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What a profile needs, and what of it is here."""

    profile: str
    needs_gpu: bool
    problems: tuple[str, ...]
    """What is missing, a line each with its remedy."""
    weights: tuple[Weights, ...]
    cache: str
    """The folder that holds weights."""
    cache_free: int
    """Bytes free there."""
    has_hub_token: bool

    @property
    def bytes_to_fetch(self) -> int:
        """The size of the weights that are missing."""
        return sum(one.size for one in self.weights if not one.here)


def read_agent(profile: str, environment: Mapping[str, str]) -> AgentFacts:
    """Ask the agent's program what the profile needs. It loads no engine.

    Raises:
        AgentError: the program failed; its own line is the message.
    """
    command = child.python_command("turngap_agent", "readiness", profile)
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise AgentError(f"the agent's program did not answer within {_TIMEOUT_S:g} s") from None
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise AgentError(last.removeprefix("python -m turngap_agent: "))
    answer: dict[str, Any] = json.loads(result.stdout)
    return AgentFacts(
        profile=answer["profile"],
        needs_gpu=answer["needs_gpu"],
        problems=tuple(answer["problems"]),
        weights=tuple(Weights(**one) for one in answer["weights"]),
        cache=answer["cache"],
        cache_free=count_free_bytes(Path(answer["cache"])),
        has_hub_token=bool(environment.get(_HUB_TOKEN)),
    )


def judge_agent(facts: AgentFacts) -> Group:
    """Return the checks of the profile's agent."""
    checks = [Check("engines", State.PROBLEM, *_split(problem)) for problem in facts.problems]
    checks = checks or [Check("engines", State.OK, "every package is installed")]
    checks += [_judge_weights(one, facts) for one in facts.weights]
    if missing := facts.bytes_to_fetch:
        found = f"{_megabytes(facts.cache_free)} free in {facts.cache}, {_megabytes(missing)} to be fetched"
        fits = missing < facts.cache_free
        remedy = "" if fits else "make room, or set TURNGAP_CACHE to a folder on a larger disk"
        checks.append(Check("room for weights", State.OK if fits else State.PROBLEM, found, remedy))
    return Group(f"agent, profile {facts.profile}", tuple(checks))


def _judge_weights(weights: Weights, facts: AgentFacts) -> Check:
    name, size = f"weights {weights.name}", _megabytes(weights.size)
    if weights.problem is not None:
        return Check(name, State.PROBLEM, *_split(weights.problem))
    if weights.here:
        return Check(name, State.OK, f"here, {size}, {weights.licence}")
    if weights.gated and not facts.has_hub_token:
        remedy = f"accept the licence on the model's page, and set {_HUB_TOKEN}"
        return Check(name, State.PROBLEM, f"{size}, {weights.licence}, behind a login", remedy)
    return Check(
        name, State.WARNING, f"{size}, {weights.licence}, not fetched yet", "turngap weights pull " + weights.name
    )


def _split(message: str) -> tuple[str, str]:
    """Return a line of the agent's as what was found and its remedy, which follows the last `; `, or else `: `."""
    mark = "; " if "; " in message else ": "
    found, _, remedy = message.rpartition(mark)
    return (found, remedy) if found else (message, "")


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
