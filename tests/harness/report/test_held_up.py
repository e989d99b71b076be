"""What held the agent up, in words: what it was, where, and nothing where there is nothing."""

from __future__ import annotations

import pytest
from turngap.model.health import EnergyFigures, EnergyPart, HealthFigures, LoopBlock, TurnHealth
from turngap.report import held_up

from tests.harness import report_builders as builders

JSON = "dumps (json/__init__.py:231)"
OWN = "Call._answer (turngap_agent/call/call.py:88)"


def block(
    length: float = 38.0, ran: float = 36.0, queued: float = 1.0, stack: tuple[str, ...] = (OWN, JSON)
) -> LoopBlock:
    return LoopBlock(start_ms=12.0, length_ms=length, ran_ms=ran, queued_ms=queued, stack=stack)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (block(), f"the event loop stood 38 ms in `{JSON}`, called from `{OWN}`"),
        (block(stack=(OWN,)), f"the event loop stood 38 ms in `{OWN}`"),
        (block(stack=()), "the event loop stood 38 ms; where is not known"),
        (block(ran=2.0, queued=35.0), "the event loop stood 38 ms, 35 ms of it waiting for a core"),
        (
            block(ran=2.0, stack=(OWN,)),
            f"the event loop stood 38 ms in `{OWN}`, mostly waiting for the interpreter or for something outside",
        ),
    ],
)
def test_a_standstill_names_its_cause(found: LoopBlock, words: str) -> None:
    """The code that ran, the agent's own function that called it, or what it waited for."""
    assert held_up.describe_block(found) == words


def test_a_turn_says_everything_that_held_it_up() -> None:
    """The longest standstill, how many more, and what the kernel counted."""
    health = TurnHealth(
        blocks=(block(), block(12.0)),
        loop_blocked_ms=50.0,
        interpreter_wait_ms=14.0,
        throttled_ms=21.0,
        major_faults=3.2,
    )
    text = held_up.describe_turn(health)
    assert text.startswith(held_up.describe_block(block()))
    for part in ("1 more, 50 ms in all", "14 ms for the interpreter", "CPU limit stopped it for 21 ms", "3 pages read"):
        assert part in text
    assert held_up.describe_turn(TurnHealth(queued_ms=3.0, stolen_ms=4.0)) == ""
    assert held_up.describe_turn(None) == ""


def test_the_turns_that_were_held_up_most_come_first() -> None:
    """With their numbers in the table of turns; others are not listed."""
    turns = builders.turns(4)
    turns[1] = turns[1].model_copy(update={"health": TurnHealth(blocks=(block(12.0),), loop_blocked_ms=12.0)})
    turns[3] = turns[3].model_copy(update={"health": TurnHealth(blocks=(block(),), loop_blocked_ms=38.0)})
    turns[2] = turns[2].model_copy(update={"health": TurnHealth()})
    assert [(number, turn.call) for number, turn, _ in held_up.list_held_turns(turns)] == [(4, 3), (2, 1)]


def test_a_run_is_one_line() -> None:
    """Or says that there was nothing; without a record it says nothing."""
    figures = HealthFigures(turns=9, blocked_turns=2, longest_block_ms=38.0, longest_block_in=JSON, throttled_turns=1)
    text = held_up.summarise(figures)
    assert text == (
        f"the event loop stood in 2 of 9 turns, the longest 38 ms in `{JSON}`; the container's CPU limit in 1"
    )
    assert held_up.summarise(HealthFigures(turns=9)) == "nothing of 10 ms or more of 9 turns"
    assert held_up.summarise(None) == ""


def test_energy_that_is_not_readable_says_why() -> None:
    """A part without a figure is never 0 J."""
    part = EnergyPart(joules=900.0, watts=15.0, call_j=90.0, answered_turn_j=None, call_minute_j=600.0)
    figures = EnergyFigures(seconds=60.0, calls=10, package=part, not_readable={"GPU": "no NVIDIA GPU"})
    assert held_up.format_energy_parts(figures) == (
        ("processor", "15 W (90 J a call, 600 J a minute of call)"),
        ("GPU", "not readable here: no NVIDIA GPU"),
    )
    assert held_up.format_energy(figures) == "processor 15 W (90 J a call, 600 J a minute of call)"
    assert held_up.format_energy_parts(None) == ()
    assert held_up.format_energy(None) == ""
