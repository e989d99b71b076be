"""The calls of a scenario in their seeded order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from turngap_agent.errors import ScenarioError

from turngap.network import NetworkProfile
from turngap.scenario.line import CLEAN, Line
from turngap.scenario.model import Scenario
from turngap.scenario.turn import Expectation, Turn

QUIET_MS = 600
"""An agent that has been silent for so long is taken to have said all."""


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call to be placed."""

    index: int
    turns: tuple[Turn, ...]
    probe: bool
    warm_up: bool = False
    on_grid: bool = False
    """Every utterance ends with a frame, where chance would put its end anywhere in one; for calibration."""
    line: Line = CLEAN
    hang_up: Literal["stop", "drop"] = "stop"
    quiet_ms: int = QUIET_MS
    """A reply is over once the agent has been silent for so long; before that the caller does not speak again."""
    network: NetworkProfile | None = None
    """The simulated network between caller and agent; None for none."""


def plan(scenario: Scenario, *, seed: int | None = None, n_turns: int | None = None) -> tuple[PlannedCall, ...]:
    """The calls in their seeded order; `warm_up_turns` one-turn calls come first and repeat utterances of the list.

    `n_turns` takes the first n of the seeded order, and goes round again where n is larger than the list (which makes
    the corpus repeat itself: such a run is not gated).

    Raises:
        ScenarioError: `n_turns` is not positive.
    """
    if n_turns is not None and n_turns < 1:
        raise ScenarioError(f"--turns {n_turns}: at least 1 is needed")
    rng = random.Random(scenario.seed if seed is None else seed)
    dealt = _dealt(scenario, rng, len(scenario.turns) if n_turns is None else n_turns)
    said = [turn for call in dealt for turn in call]
    answered = [turn for turn in said if turn.agent is Expectation.RESPOND and turn.over_agent_ms is None] or said
    calls = [
        PlannedCall(
            index=index, turns=(answered[-1 - index % len(answered)],), probe=True, warm_up=True, line=scenario.line
        )
        for index in range(scenario.warm_up_turns)
    ]
    for turns in dealt:
        calls.append(
            PlannedCall(len(calls), turns, scenario.probe, line=scenario.line, hang_up=scenario.hang_up),
        )
    return tuple(calls)


def _dealt(scenario: Scenario, rng: random.Random, wanted: int) -> list[tuple[Turn, ...]]:
    """The turns of each call, `wanted` in all."""
    size = scenario.call_size
    order = list(scenario.turns)
    if scenario.turns_per_call == "all" or scenario.shuffle == "turns":
        if scenario.turns_per_call != "all":
            rng.shuffle(order)
        dealt = [order[index % len(order)] for index in range(wanted)]
        return _cut(dealt, size)
    cut = _cut(order, size)
    rng.shuffle(cut)
    calls: list[tuple[Turn, ...]] = []
    while wanted > 0:
        calls.append(cut[len(calls) % len(cut)][:wanted])
        wanted -= len(calls[-1])
    return calls


def _cut(turns: Sequence[Turn], size: int) -> list[tuple[Turn, ...]]:
    return [tuple(turns[start : start + size]) for start in range(0, len(turns), size)]
