"""The search: which loads are tried, and what the answer says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.capacity.points import Decision
from turngap.capacity.search import Answer, Search, Step


def run(search: Search, capacity: int, *, beyond: Decision = Decision.DOES_NOT_HOLD) -> Answer:
    """Go through a search against an agent that holds so many calls."""
    while (calls := search.next_calls()) is not None:
        decision = Decision.HOLDS if calls <= capacity else beyond
        search.add(Step(calls=calls, decision=decision, sentence="", turns=90))
        assert len(search.steps) < 50
    return search.answer("edge500")


@given(capacity=st.integers(0, 70), first=st.integers(1, 64))
def test_the_most_calls_are_found(capacity: int, first: int) -> None:
    """Whatever the first load: the answer is the capacity, or the highest load; no load is tried twice."""
    search = Search(first=first, ceiling=64)
    answer = run(search, capacity)
    assert answer.calls == min(capacity, 64)
    assert answer.beyond == (capacity + 1 if capacity < 64 else None)
    tried = [step.calls for step in search.steps]
    assert len(set(tried)) == len(tried) <= 13
    assert answer.error == pytest.approx(min(1.0, 0.05 * len(tried)))


def test_it_doubles_and_then_halves() -> None:
    """Four steps up, then between the last two."""
    search = Search(first=1, ceiling=64)
    run(search, 6)
    assert [step.calls for step in search.steps] == [1, 2, 4, 8, 6, 7]


def test_a_load_at_which_the_instrument_was_late_is_tried_once_more() -> None:
    """A second time ends the search below it, and the answer says why."""
    search = Search(first=2, ceiling=8)
    for decision in (Decision.HOLDS, Decision.INVALID, Decision.INVALID, Decision.HOLDS):
        calls = search.next_calls()
        assert calls is not None
        search.add(Step(calls=calls, decision=decision, sentence="late", turns=10))
    assert [step.calls for step in search.steps] == [2, 4, 4, 3]
    assert search.next_calls() is None
    answer = search.answer("edge500")
    assert (answer.calls, answer.beyond, answer.beyond_decision) == (3, 4, Decision.INVALID)
    assert "the instrument was not fit to tell" in answer.sentence


def test_what_is_not_shown_does_not_count_as_held() -> None:
    """And the answer does not say that it fails."""
    answer = run(Search(first=1, ceiling=4), 2, beyond=Decision.NOT_SHOWN)
    assert answer.calls == 2
    assert "neither shown to hold nor not to" in answer.sentence


def test_not_even_one() -> None:
    """The first load fails, and so does 1."""
    answer = run(Search(first=2, ceiling=4), 0)
    assert answer.calls == 0
    assert answer.sentence.startswith("Not even 1 call at once")
    assert "1 does not hold it" in answer.sentence
