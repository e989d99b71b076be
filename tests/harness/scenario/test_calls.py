"""Dealing turns out to calls: the order by the seed, calls kept whole, warm-up by what can be answered."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.scenario import Scenario, plan_calls
from turngap.scenario.calls import describe_repeats, repeats_in_warm_up
from turngap.session.run_documents import load_scenario

SIZES = st.integers(1, 30)


def chain_turns(turns: int, size: int, **keys: object) -> Scenario:
    """Every turn but the first of a call speaks over the agent."""
    listed = [
        {"id": f"t{n}", "say": "hello", **({"agent": "stop", "over_agent_ms": 300} if n % size else {})}
        for n in range(turns)
    ]
    return Scenario.model_validate(
        {"name": "test", "turns_per_call": size, "shuffle": "calls", "turns": listed, **keys}
    )


@given(SIZES, st.integers(1, 7), st.integers(0, 99), st.integers(1, 80))
def test_calls_are_shuffled_whole(turns: int, size: int, seed: int, wanted: int) -> None:
    """Whatever the number of turns, a call is a stretch of the list from a call's beginning; the last may be short."""
    calls = [call for call in plan_calls(chain_turns(turns, size), seed=seed, n_turns=wanted) if not call.warm_up]
    assert sum(len(call.turns) for call in calls) == wanted
    for call in calls:
        places = [int(turn.key[1:]) for turn in call.turns]
        assert places[0] % size == 0
        assert places == list(range(places[0], places[0] + len(places)))
        assert call is calls[-1] or len(places) == min(size, turns - places[0])


@given(st.integers(0, 99))
def test_all_calls_are_placed_once(seed: int) -> None:
    """Without a number of turns each turn of the list is played once."""
    calls = [call for call in plan_calls(chain_turns(13, 4), seed=seed) if not call.warm_up]
    assert sorted(int(turn.key[1:]) for call in calls for turn in call.turns) == list(range(13))


def test_warm_up_speaks_over_nobody() -> None:
    """A warm-up call is one turn that can be answered; a list without any warms up with what there is."""
    warm_up = [call for call in plan_calls(chain_turns(8, 4, warm_up_turns=5)) if call.warm_up]
    assert {call.turns[0].key for call in warm_up} <= {"t0", "t4"}
    assert [len(call.turns) for call in warm_up] == [1] * 5
    quiet = Scenario.model_validate({"name": "test", "turns": [{"silence_ms": 500, "agent": "wait"}]})
    assert len(plan_calls(quiet)) == 3


def test_every_call_has_the_line_and_the_scored_ones_the_ending() -> None:
    """Warm-up calls end politely: they are to warm the agent up."""
    calls = plan_calls(chain_turns(4, 2, line={"loss_percent": 3}, hang_up="drop"))
    assert {call.line.loss_percent for call in calls} == {3}
    assert {(call.warm_up, call.hang_up) for call in calls} == {(True, "stop"), (False, "drop")}


def test_turns_that_repeat_utterances_are_counted() -> None:
    """Warm-up apart; a list that is placed once has none."""
    scenario = chain_turns(3, 1)
    assert describe_repeats(plan_calls(scenario)) == ""
    assert "7 of 10 turns" in describe_repeats(plan_calls(scenario, n_turns=10))


def with_depth(turns: int, **keys: object) -> Scenario:
    """Single turns, some of them after lead-ins."""
    said = {"turns": [{"id": f"t{n}", "say": "hello"} for n in range(turns)]}
    led = {"lead_ins": [{"id": f"lead{n}", "say": "hi"} for n in range(4)]}
    return Scenario.model_validate({"name": "test", "depth": {1: 0.5, 2: 0.25, 5: 0.25}, **said, **led, **keys})


@given(st.integers(1, 60), st.integers(0, 99))
def test_every_depth_has_its_share_of_the_calls(turns: int, seed: int) -> None:
    """Each call has one scored turn, its last; lead-ins differ within a call; shares are exact to one call."""
    scenario = with_depth(turns)
    calls = [call for call in plan_calls(scenario, seed=seed) if not call.warm_up]
    assert calls == [call for call in plan_calls(scenario, seed=seed) if not call.warm_up]
    assert all(len(call.scored_turns) == 1 and call.scored_turns[0] is call.turns[-1] for call in calls)
    assert sorted(call.scored_turns[0].key for call in calls) == sorted(turn.key for turn in scenario.turns)
    for call in calls:
        before = [turn.key for turn in call.turns[: call.lead_ins]]
        assert set(before) <= {turn.key for turn in scenario.lead_ins}
        assert len(set(before)) == len(before) == len(call.turns) - 1
    counts = Counter(len(call.turns) for call in calls)
    assert set(counts) <= {1, 2, 5}
    assert all(abs(counts[depth] - turns * share) < 1 for depth, share in ((1, 0.5), (2, 0.25), (5, 0.25)))


def test_the_seed_orders_the_depths_and_leaves_the_turns_alone() -> None:
    """Lead-ins are drawn beside the order of the turns: a scenario with depths has the order of one without."""
    plain = with_depth(40, depth={}, lead_ins=[])
    for seed in range(5):
        shallow, deep = (plan_calls(scenario, seed=seed) for scenario in (plain, with_depth(40)))
        scored = [[turn.key for call in calls for turn in call.scored_turns] for calls in (shallow, deep)]
        assert scored[0] == scored[1]
    depths = [[len(call.turns) for call in plan_calls(with_depth(40), seed=seed)] for seed in range(5)]
    assert len({tuple(one) for one in depths}) == 5


def test_a_call_is_planned_with_its_lead_ins_and_counted_without() -> None:
    """Warm-up calls have none; lead-ins repeat from call to call without being a repeated utterance."""
    calls = plan_calls(with_depth(40))
    assert [len(call.turns) for call in calls if call.warm_up] == [1, 1]
    assert sum(len(call.scored_turns) for call in calls) == 40
    assert describe_repeats(calls) == ""


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"lead_ins": [{"say": "one"}]}, "needs 4 `lead_ins`; there are 1"),
        ({"turns_per_call": 2}, "need `turns_per_call: 1`"),
        ({"depth": {0: 1.0}}, "greater than or equal to 1"),
        ({"depth": {1: 0.0}}, "greater than 0"),
        ({"lead_ins": [{"id": f"t{n}", "say": "one"} for n in range(4)]}, "two turns have the name 't0'"),
        ({"lead_ins": [{"id": f"q{n}", "silence_ms": 500, "agent": "wait"} for n in range(4)]}, "is a lead-in"),
    ],
)
def test_depths_that_cannot_be_are_refused(keys: dict[str, object], words: str) -> None:
    """Too few lead-ins, several scored turns a call, no such depth, a name twice, a turn that nobody answers."""
    with pytest.raises(ValueError, match=words):
        with_depth(3, **keys)


@given(st.integers(0, 99), st.integers(1, 12))
def test_warm_up_says_nothing_that_is_scored(seed: int, wanted: int) -> None:
    """While the scenario has utterances that are not scored: turns outside the subset, then lead-ins."""
    scenario = Scenario.model_validate(
        {
            "name": "test",
            "warm_up_turns": 3,
            "depth": {1: 1},
            "lead_ins": [{"id": "lead", "say": "hello"}],
            "turns": [{"id": f"t{n}", "say": "hello"} for n in range(12)],
        }
    )
    calls = plan_calls(scenario, seed=seed, n_turns=wanted)
    assert not repeats_in_warm_up(calls)
    said = [call.turns[0].key for call in calls if call.warm_up]
    assert len(set(said)) == min(3, 13 - wanted)
    assert ("lead" in said) == (wanted > 9)


def test_the_warm_up_of_the_gate_is_not_scored() -> None:
    """Nor is it with 59 of its turns."""
    for turns in (None, 59):
        assert not repeats_in_warm_up(plan_calls(load_scenario("gate"), n_turns=turns))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_a_gate_has_its_strata_in_proportion_from_the_first_turns_on(pauses: int, others: int, seed: int) -> None:
    """Of any first n turns each stratum has its share, to less than two turns; every turn is there once."""
    turns = [
        {"id": f"t{n}", "say": "hello", "stratum": "pause" if n < pauses else "other"} for n in range(pauses + others)
    ]
    scenario = Scenario.model_validate({"name": "test", "gate": True, "turns": turns})
    order = [turn for call in plan_calls(scenario, seed=seed) for turn in call.scored_turns]
    assert sorted(turn.key for turn in order) == sorted(turn.key for turn in scenario.turns)
    for n in range(1, len(order) + 1):
        share = n * pauses / (pauses + others)
        assert abs(sum(turn.stratum == "pause" for turn in order[:n]) - share) < 2
    assert plan_calls(scenario, seed=seed) == plan_calls(scenario, seed=seed)
