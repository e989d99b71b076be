"""Dealing turns out to calls: the order by the seed, calls kept whole, warm-up by what can be answered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from turngap.scenario import Scenario, plan_calls
from turngap.scenario.calls import describe_repeats

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
