"""What held the agent's process up, its energy and its traces, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from turngap.model.health import EnergyFigures, EnergyPart, HealthFigures, LoopBlock, TurnHealth
from turngap.model.plural import plural
from turngap.model.turn import TurnRecord
from turngap.report.wording import join_words, ms

LEAST_MS = 10.0
"""Less is not shown beside a turn."""
MOST_TURNS = 12
_OWN = "turngap_agent/"


def describe_block(block: LoopBlock) -> str:
    """Return one standstill of the event loop in words: how long, and what it waited for or where it was."""
    length = f"the event loop stood {ms(block.length_ms)} ms"
    if block.queued_ms >= block.length_ms / 2:
        return f"{length}, {ms(min(block.queued_ms, block.length_ms))} ms of it waiting for a core"
    if not block.stack:
        return f"{length}; where is not known"
    where = f"{length} in `{block.stack[-1]}`"
    own = next((frame for frame in reversed(block.stack[:-1]) if _OWN in frame), "")
    if own and _OWN not in block.stack[-1]:
        where += f", called from `{own}`"
    if block.ran_ms < block.length_ms / 2:
        where += ", mostly waiting for the interpreter or for something outside"
    return where


def describe_turn(health: TurnHealth | None) -> str:
    """Return what held the agent up in a turn; "" for nothing of 10 ms or more."""
    if health is None:
        return ""
    parts = [describe_block(health.blocks[0])] if health.blocks else []
    if len(health.blocks) > 1:
        parts.append(f"{len(health.blocks) - 1} more, {ms(health.loop_blocked_ms)} ms in all")
    if health.interpreter_wait_ms >= LEAST_MS:
        parts.append(f"a thread waited {ms(health.interpreter_wait_ms)} ms for the interpreter")
    if (health.throttled_ms or 0.0) >= LEAST_MS:
        parts.append(f"the container's CPU limit stopped it for {ms(health.throttled_ms)} ms")
    if (health.stolen_ms or 0.0) >= LEAST_MS:
        parts.append(f"the host took {ms(health.stolen_ms)} ms")
    if (health.major_faults or 0.0) >= 1:
        parts.append(f"{plural(round(health.major_faults or 0), 'page')} read from the disk")
    return "; ".join(parts)


def list_held_turns(turns: Sequence[TurnRecord]) -> tuple[tuple[int, TurnRecord, str], ...]:
    """Return number in the table, turn and words of the scored turns that were held up most, the worst first."""
    held = [
        (number, turn, describe_turn(turn.health))
        for number, turn in enumerate(turns, 1)
        if turn.scored and turn.health is not None and (turn.health.blocks or turn.health.interpreter_wait_ms)
    ]
    held.sort(key=lambda row: -(row[1].health.loop_blocked_ms if row[1].health is not None else 0.0))
    return tuple(held[:MOST_TURNS])


def summarise(figures: HealthFigures | None) -> str:
    """Return what held the run's turns up, in one line; "" where it was not recorded."""
    if figures is None:
        return ""
    of = f"of {plural(figures.turns, 'turn')}"
    found = []
    if figures.blocked_turns:
        where = f" in `{figures.longest_block_in}`" if figures.longest_block_in else ""
        longest = f"the longest {ms(figures.longest_block_ms)} ms{where}"
        found.append(f"the event loop stood in {figures.blocked_turns} {of}, {longest}")
    for count, words in (
        (figures.interpreter_turns, "waits for the interpreter"),
        (figures.throttled_turns, "the container's CPU limit"),
        (figures.stolen_turns, "stolen time"),
        (figures.major_fault_turns, "pages read from the disk"),
    ):
        if count:
            found.append(f"{words} in {count}")
    if figures.loop_queued_p95_ms is not None:
        found.append(f"the event loop's thread waited for a core {ms(figures.loop_queued_p95_ms)} ms a turn (p95)")
    return "; ".join(found) or f"nothing of {LEAST_MS:g} ms or more {of}"


def format_energy_parts(figures: EnergyFigures | None) -> tuple[tuple[str, str], ...]:
    """Return each part of the machine with its energy in words, or why that is not known; () without figures."""
    if figures is None:
        return ()
    rows = [(name, _energy_text(part)) for name, part in (("GPU", figures.gpu), ("processor", figures.package)) if part]
    return (*rows, *((name, f"not readable here: {why}") for name, why in figures.not_readable.items()))


def format_energy(figures: EnergyFigures | None) -> str:
    """Return the energy in one line for a terminal; "" without a figure."""
    known = [] if figures is None else [("GPU", figures.gpu), ("processor", figures.package)]
    return join_words([f"{name} {_energy_text(part)}" for name, part in known if part is not None])


def _energy_text(part: EnergyPart) -> str:
    shares = (
        (part.answered_turn_j, "an answered turn"),
        (part.call_j, "a call"),
        (part.call_minute_j, "a minute of call"),
    )
    listed = ", ".join(f"{_number(value)} J {words}" for value, words in shares if value is not None)
    return f"{_number(part.watts)} W ({listed})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
