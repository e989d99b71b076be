"""The calls of a scenario, in their seeded order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from turngap_agent.errors import ScenarioError

from turngap.network import NetworkProfile
from turngap.scenario.content import default_openings
from turngap.scenario.model import NO_IMPAIRMENTS, LineImpairments, Scenario
from turngap.scenario.turn import Expectation, Turn

QUIET_MS = 600
"""An agent that has been silent for this long has ended its reply."""


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call to be placed."""

    index: int
    turns: tuple[Turn, ...]
    probe: bool
    warm_up: bool = False
    lead_ins: int = 0
    """How many of the first turns are lead-ins: recorded, never scored."""
    on_grid: bool = False
    """For calibration: every utterance ends at the end of a frame. Otherwise chance places its end inside a frame."""
    line: LineImpairments = NO_IMPAIRMENTS
    hang_up: Literal["stop", "drop"] = "stop"
    quiet_ms: int = QUIET_MS
    """A reply has ended once the agent was silent for this long; the caller does not speak again before that."""
    network: NetworkProfile | None = None
    """The simulated network between caller and agent, if any."""
    waits_for_content: bool = False
    """The caller waits until it has heard content, or until the answer's deadline; otherwise any sound will do."""
    contentless: tuple[str, ...] = field(default_factory=default_openings)
    """Openings that carry no content."""

    @property
    def scored_turns(self) -> tuple[Turn, ...]:
        """The turns that are to be scored: none of a warm-up call, and no lead-in."""
        return () if self.warm_up else self.turns[self.lead_ins :]


def describe_repeats(calls: Sequence[PlannedCall]) -> str:
    """Return a sentence if scored turns repeat an utterance on the same network; "" if none does."""
    scored = [
        (call.network.name if call.network is not None else "", turn.key)
        for call in calls
        for turn in call.scored_turns
    ]
    repeats = len(scored) - len(set(scored))
    if not repeats:
        return ""
    return (
        f"warning: {repeats} of {len(scored)} turns will repeat an utterance: they are not independent"
        ", so bounds do not hold; add utterances, or use fewer turns"
    )


def plan_calls(scenario: Scenario, *, seed: int | None = None, n_turns: int | None = None) -> tuple[PlannedCall, ...]:
    """Return the calls in their seeded order; `warm_up_turns` one-turn calls come first.

    `n_turns` takes the first n turns of the seeded order. If n is larger than the list, the order starts again: such a
    run repeats utterances and is not gated.

    Raises:
        ScenarioError: `n_turns` is not positive.
    """
    if n_turns is not None and n_turns < 1:
        raise ScenarioError(f"--turns {n_turns}: must be at least 1", code="scenario.turns")
    rng = random.Random(scenario.seed if seed is None else seed)
    turns_by_call = _assign_turns(scenario, rng, len(scenario.turns) if n_turns is None else n_turns)
    warm_ups = select_warm_ups(scenario, [turn for call_turns in turns_by_call for turn in call_turns])
    listens: dict[str, Any] = {
        "line": scenario.line,
        "waits_for_content": True,
        "contentless": scenario.contentless,
    }
    calls = [
        PlannedCall(index, (warm_ups[index % len(warm_ups)],), probe=True, warm_up=True, **listens)
        for index in range(scenario.warm_up_turns)
    ]
    lead_ins_by_call = _draw_lead_ins(scenario, f"{scenario.seed if seed is None else seed}:depth", len(turns_by_call))
    for call_turns, lead_ins in zip(turns_by_call, lead_ins_by_call, strict=True):
        calls.append(
            PlannedCall(
                len(calls),
                (*lead_ins, *call_turns),
                scenario.probe,
                lead_ins=len(lead_ins),
                hang_up=scenario.hang_up,
                **listens,
            ),
        )
    return tuple(calls)


def select_warm_ups(scenario: Scenario, scored: Sequence[Turn]) -> tuple[Turn, ...]:
    """Return the utterances of warm-up calls, in the order in which they are used; the agent answers each of them.

    They are the scenario's turns that are not `scored`, then its lead-ins: an agent that remembers what it heard gains
    nothing by a warm-up. Where a scenario has neither they repeat scored utterances, those that are called last first.
    """
    keys = {turn.key for turn in scored}
    unscored = [turn for turn in (*scenario.turns, *scenario.lead_ins) if turn.key not in keys and _can_open(turn)]
    repeated = [turn for turn in scored if _can_open(turn)] or list(scored)
    return tuple(unscored or reversed(repeated))


def repeats_in_warm_up(calls: Sequence[PlannedCall]) -> bool:
    """Whether a warm-up call says what is scored later."""
    scored = {turn.key for call in calls for turn in call.scored_turns}
    return any(turn.key in scored for call in calls if call.warm_up for turn in call.turns)


def _can_open(turn: Turn) -> bool:
    """Whether the turn is answered as the first of a call."""
    return turn.agent is Expectation.RESPOND and turn.over_agent_ms is None


def _draw_lead_ins(scenario: Scenario, seed: str, n_calls: int) -> list[tuple[Turn, ...]]:
    """Return the lead-ins of each call, none twice in a call.

    Every depth gets its share of the calls (largest remainders), so that only their order is left to the seed.
    """
    rng = random.Random(seed)
    weights = scenario.depth or {1: 1.0}
    shares = {depth: n_calls * weight / sum(weights.values()) for depth, weight in sorted(weights.items())}
    counts = {depth: int(share) for depth, share in shares.items()}
    by_remainder = sorted(shares, key=lambda depth: counts[depth] - shares[depth])
    for depth in by_remainder[: n_calls - sum(counts.values())]:
        counts[depth] += 1
    depths = [depth for depth, count in counts.items() for _ in range(count)]
    rng.shuffle(depths)
    return [tuple(rng.sample(scenario.lead_ins, depth - 1)) for depth in depths]


def _assign_turns(scenario: Scenario, rng: random.Random, n_turns: int) -> list[tuple[Turn, ...]]:
    """Return the turns of each call, `n_turns` in total."""
    size = scenario.call_size
    order = list(scenario.turns)
    if scenario.turns_per_call == "all" or scenario.shuffle == "turns":
        if scenario.turns_per_call != "all":
            rng.shuffle(order)
        if scenario.gate:
            order = _spread_strata(order, rng)
        return _split([order[index % len(order)] for index in range(n_turns)], size)
    pieces = _split(order, size)
    rng.shuffle(pieces)
    calls: list[tuple[Turn, ...]] = []
    remaining = n_turns
    while remaining > 0:
        calls.append(pieces[len(calls) % len(pieces)][:remaining])
        remaining -= len(calls[-1])
    return calls


def _spread_strata(turns: Sequence[Turn], rng: random.Random) -> list[Turn]:
    """Return shuffled turns with each stratum spread evenly over the order.

    So the first n turns, of `--turns n` or of a gate that stops early, have the strata in the proportion of all.
    """
    sizes, seen, places = Counter(turn.stratum for turn in turns), Counter[str](), []
    for turn in turns:
        places.append((seen[turn.stratum] + rng.random()) / sizes[turn.stratum])
        seen[turn.stratum] += 1
    return [turns[index] for index in sorted(range(len(turns)), key=places.__getitem__)]


def _split(turns: Sequence[Turn], size: int) -> list[tuple[Turn, ...]]:
    return [tuple(turns[start : start + size]) for start in range(0, len(turns), size)]
