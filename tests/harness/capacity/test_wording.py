"""The result of a capacity run in one sentence or two."""

from __future__ import annotations

from turngap.capacity.arrivals import Load
from turngap.capacity.points import Decision, Sign, SignKind
from turngap.capacity.search import Search, Step
from turngap.capacity.wording import describe_caller, describe_result, describe_stop

from tests.harness.capacity.builders import caller, point, record


def test_the_highest_load_that_holds_comes_first() -> None:
    """Then the knee, then what was invalid and why."""
    made = record(
        point(1, decision=Decision.HOLDS),
        point(2, decision=Decision.HOLDS),
        point(4, 2900.0, answered_per_s=0.5, decision=Decision.DOES_NOT_HOLD),
        point(8, decision=Decision.INVALID, caller=caller(valid=False, reasons=("it was late",))),
    )
    assert describe_result(made) == (
        "edge500 is shown to hold up to 2 calls at once. The knee lies between 2 and 4 calls at once; at 2 p95 is "
        "450 ms. "
        "8 calls at once: INVALID, it was late."
    )


def test_a_lower_load_that_does_not_hold_is_told() -> None:
    """Loads up to the highest that holds do not all hold then."""
    made = record(
        point(1, decision=Decision.HOLDS),
        point(2, decision=Decision.DOES_NOT_HOLD),
        point(4, decision=Decision.HOLDS),
    )
    assert describe_result(made).startswith("edge500 is shown to hold with 4 calls at once, and not to hold with 2.")


def test_without_a_budget_or_a_knee_the_figures_are_told() -> None:
    """A single load, loads without a knee, no load at all."""
    plain = {"judged": False, "budget": None}
    assert describe_result(record(point(3), **plain)) == "3 calls at once: p95 450 ms of 60 turns."
    assert describe_result(record(point(1), point(2), **plain)) == "No knee up to 2 calls at once: p95 450 ms."
    assert describe_result(record(**plain)) == "Nothing was measured."
    assert describe_result(record(point(1, decision=Decision.NOT_SHOWN))) == "No load is shown to hold edge500."


def test_what_a_search_found_comes_with_the_calls_that_were_under_way() -> None:
    """A line is not busy all the time: so many calls at once are fewer in the mean."""
    search = Search(first=2, ceiling=2)
    search.add(Step(calls=2, decision=Decision.HOLDS, sentence="", turns=90))
    found = record(point(2, decision=Decision.HOLDS), answer=search.answer("edge500"))
    assert describe_result(found) == (
        "edge500 is shown to hold with 2 calls at once, the highest load of this search (2). At that load 1.9 were "
        "under way in the mean, 2 at most."
    )


def test_why_higher_loads_are_not_tried() -> None:
    """What is full, and which loads are left."""
    full = point(4, signs=(Sign(kind=SignKind.GPU, text="the GPU had work 99% of the time"),))
    assert describe_stop(full, [Load(calls=8), Load(calls=16)]) == (
        "stopped at 4 calls at once, which saturates the agent (GPU full: the GPU had work 99% of the time): "
        "not tried: 8 calls at once and 16 calls at once"
    )


def test_the_caller_in_a_few_words() -> None:
    """Lateness, sentinel and core; what was not measured is left out."""
    text = describe_caller(point(2, caller=caller(processes=3)))
    assert text == (
        "frames late by 0.4 ms (p99), sentinel off by over 5 ms in 0% of 40, 20% of a core (busiest of 3 processes)"
    )
    nothing = caller(send_p99_ms=None, sentinel_over_share=None, busiest_core_share=None)
    assert describe_caller(point(2, caller=nothing)) == "not measured"
