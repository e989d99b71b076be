"""What held the agent up, in the turn that it fell in."""

from __future__ import annotations

from turngap.clock import NS_PER_MS
from turngap.model.turn import Outcome
from turngap.processes.gpu_log import UNANSWERED_MS
from turngap.processes.health_log import HealthSamples, LoopEvent
from turngap.processes.health_turns import add_health, summarise_health

from tests.harness import report_builders as builders

BOOT = "b"


def blocked(at_ms: float, length_ms: float, turn_t0_ns: int, name: str = "dumps (json/__init__.py:231)") -> LoopEvent:
    start_ns = turn_t0_ns + round(at_ms * NS_PER_MS)
    return LoopEvent(
        "loop", start_ns, start_ns + round(length_ms * NS_PER_MS), length_ms, 0.0, ("handle (x.py:1)", name)
    )


def rows(begin_s: float, end_s: float, per_s: float) -> HealthSamples:
    """A row each 100 ms, every counter growing by `per_s`."""
    names = ("queued_s", "loop_queued_s", "minor_faults", "major_faults", "throttled_s", "stolen_s")
    steps = round((end_s - begin_s) * 10) + 1
    return HealthSamples(
        [{"at_s": begin_s + step / 10, **dict.fromkeys(names, step * per_s / 10)} for step in range(steps)]
    )


def test_a_block_is_in_the_turn_that_it_fell_in() -> None:
    """By the one monotonic clock: the turn with it has length, place and function; its neighbours have none."""
    turns = builders.turns(3, boot_id=BOOT)
    event = blocked(40.0, 38.0, turns[1].t0_ns)
    first, second, third = add_health(turns, BOOT, HealthSamples([]), [event])
    assert second.health is not None
    assert [(block.start_ms, block.length_ms) for block in second.health.blocks] == [(40.0, 38.0)]
    assert second.health.blocks[0].stack[-1] == "dumps (json/__init__.py:231)"
    assert second.health.loop_blocked_ms == 38.0
    assert all(turn.health is not None and not turn.health.blocks for turn in (first, third))


def test_only_the_part_in_the_turn_delays_it() -> None:
    """A block that began before the end of speech counts from there on; one after the answer not at all."""
    turn = builders.turn(0, boot_id=BOOT)
    assert turn.turn_gap_ms is not None
    events = [blocked(-30.0, 50.0, turn.t0_ns), blocked(turn.turn_gap_ms + 1, 50.0, turn.t0_ns)]
    (joined,) = add_health([turn], BOOT, HealthSamples([]), events)
    assert joined.health is not None
    assert joined.health.loop_blocked_ms == 20.0
    assert len(joined.health.blocks) == 1


def test_counters_grow_over_the_turn() -> None:
    """In ms where they are times, and in proportion to the turn's length."""
    turn = builders.turn(0, boot_id=BOOT)
    assert turn.turn_gap_ms is not None
    begin_s = turn.t0_ns / 1e9 - 1
    (joined,) = add_health([turn], BOOT, rows(begin_s, begin_s + 4, per_s=0.2), None)
    assert joined.health is not None
    assert joined.health.queued_ms is not None
    assert abs(joined.health.queued_ms - 0.2 * turn.turn_gap_ms) < 0.01
    assert joined.health.stolen_ms == joined.health.queued_ms
    assert joined.health.major_faults is not None


def test_an_unanswered_turn_is_watched_for_its_window() -> None:
    """Two seconds from the end of speech."""
    turn = builders.turn(0, boot_id=BOOT, outcome=Outcome.MISSED)
    events = [blocked(UNANSWERED_MS - 20, 15.0, turn.t0_ns), blocked(UNANSWERED_MS + 20, 15.0, turn.t0_ns)]
    (joined,) = add_health([turn], BOOT, HealthSamples([]), events)
    assert joined.health is not None
    assert len(joined.health.blocks) == 1


def test_turns_of_another_boot_and_unwatched_ones_stay_as_they_are() -> None:
    """Their clock is another one; a turn that has its health keeps it."""
    turns = builders.turns(2, boot_id="another")
    assert add_health(turns, BOOT, HealthSamples([]), []) == tuple(turns)
    turns = builders.turns(2, boot_id=BOOT)
    assert add_health(turns, BOOT, HealthSamples([]), None) == tuple(turns)
    joined = add_health(turns, BOOT, HealthSamples([]), [blocked(5.0, 20.0, turns[0].t0_ns)])
    assert add_health(joined, BOOT, HealthSamples([]), []) == joined


def test_the_figures_count_scored_turns() -> None:
    """How many were blocked, the longest and where; what the machine does not tell stands beside it."""
    turns = builders.turns(4, boot_id=BOOT)
    turns[3] = turns[3].model_copy(update={"scored": False})
    events = [
        blocked(10.0, 12.0, turns[0].t0_ns),
        blocked(10.0, 38.0, turns[1].t0_ns, "Tokenizer.encode (llm/onnx/tokens.py:9)"),
        blocked(10.0, 99.0, turns[3].t0_ns),
        LoopEvent("interpreter", turns[2].t0_ns, turns[2].t0_ns + 12 * NS_PER_MS, 0.0, 0.0, ()),
    ]
    figures = summarise_health(add_health(turns, BOOT, HealthSamples([]), events), {"throttling": "hidden"})
    assert figures is not None
    assert (figures.turns, figures.blocked_turns, figures.interpreter_turns) == (3, 2, 1)
    assert (figures.longest_block_ms, figures.longest_block_in) == (38.0, "Tokenizer.encode (llm/onnx/tokens.py:9)")
    assert figures.queued_p95_ms is None
    assert figures.not_readable == {"throttling": "hidden"}
    assert summarise_health(builders.turns(2), {}) is None
