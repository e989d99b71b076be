"""Measures whether a delay of 100 ms injected into one stage appears in that stage's exposed time, and nowhere else.

    python -m benchmarks.injection [--turns 12] [--delay-ms 100] [--json]        about 5 minutes for 12 turns

Ten agents with scripted engines run side by side: one without a delay, one for each stage that can be delayed. In every
round each is called once with the same utterance, frames and end of speech at the same positions, so that a turn and
its counterpart differ only by the delay. The median over the rounds of each stage's change is judged.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from turngap.caller.priority import raised_priority
from turngap.model.turn import TurnRecord
from turngap_agent.tracing import INJECTABLE, Stage

from benchmarks.promises import Promise, check_at_most, make_parser, print_result
from benchmarks.side_by_side import Variant, is_answered, side_by_side

BASELINE = "baseline"
TOLERANCE_MS = 2.0
Round = Mapping[str, TurnRecord]


def changes(rounds: Sequence[Round], injected: Stage) -> tuple[dict[Stage, float], float, int] | None:
    """Return the median changes of each stage's exposed time and of the gap, in ms, and the number of rounds.

    Only rounds in which both agents answered count; None if fewer than half of the rounds do.
    """
    pairs = [
        (round_[BASELINE], round_[injected])
        for round_ in rounds
        if is_answered(round_[BASELINE]) and is_answered(round_[injected])
    ]
    whole = [(before, after) for before, after in pairs if before.stages and after.stages]
    if not whole or 2 * len(whole) < len(rounds):
        return None
    moved = {
        stage: float(np.median([_exposed_ms(after, stage) - _exposed_ms(before, stage) for before, after in whole]))
        for stage in Stage
    }
    gap = float(np.median([(after.turn_gap_ms or 0.0) - (before.turn_gap_ms or 0.0) for before, after in whole]))
    return moved, gap, len(whole)


def promises(rounds: Sequence[Round], injected: Stage, delay_ms: float) -> tuple[list[Promise], dict[str, Any]]:
    """Return the promises of one stage's delay, and all changes."""
    measured = changes(rounds, injected)
    if measured is None:
        return [Promise(f"{injected} +{delay_ms:g} ms can be measured", "too few turns", None, holds=False)], {}
    moved, gap_ms, n = measured
    others = {stage: change for stage, change in moved.items() if stage not in (injected, Stage.UNEXPLAINED)}
    worst = max(others, key=lambda stage: abs(others[stage]))
    name = f"{injected} +{delay_ms:g} ms"
    rows = [
        _change(f"{name}: {injected} moves by {delay_ms:g} ± {TOLERANCE_MS:g} ms", moved[injected], delay_ms),
        _change(f"{name}: the turn gap moves by {delay_ms:g} ± {TOLERANCE_MS:g} ms", gap_ms, delay_ms),
        _change(
            f"{name}: every other stage moves by less than {TOLERANCE_MS:g} ms (most: {worst})", others[worst], 0.0
        ),
        _change(f"{name}: unexplained moves by less than {TOLERANCE_MS:g} ms", moved[Stage.UNEXPLAINED], 0.0),
    ]
    return rows, {"n": n, "gap_ms": gap_ms, "exposed_ms": {stage.value: change for stage, change in moved.items()}}


async def measure_rounds(turns: int, delay_ms: float) -> list[dict[str, TurnRecord]]:
    """Return the rounds of one agent for each stage and the baseline."""
    variants = {BASELINE: Variant()} | {
        stage.value: Variant(inject=(f"{stage.value}={delay_ms:g}",)) for stage in INJECTABLE
    }
    async with side_by_side(variants) as caller:
        return await caller.rounds(turns)


def main() -> int:
    """Print the table; return 1 if a promise does not hold."""
    options = make_parser(__doc__)
    options.add_argument("--turns", type=int, default=12)
    options.add_argument("--delay-ms", type=float, default=100.0)
    arguments = options.parse_args()
    with raised_priority():
        rounds = asyncio.run(measure_rounds(arguments.turns, arguments.delay_ms))
    rows: list[Promise] = []
    details: dict[str, Any] = {}
    for stage in INJECTABLE:
        stage_promises, details[stage.value] = promises(rounds, stage, arguments.delay_ms)
        rows += stage_promises
    unexplained = [_exposed_ms(round_[BASELINE], Stage.UNEXPLAINED) for round_ in rounds if round_[BASELINE].stages]
    middle = float(np.median(unexplained)) if unexplained else None
    rows.append(check_at_most("no delay: unexplained median <= 10 ms", middle, 10.0))
    return print_result("injection", rows, {"delay_ms": arguments.delay_ms, "changes": details}, as_json=arguments.json)


def _exposed_ms(turn: TurnRecord, stage: Stage) -> float:
    assert turn.stages is not None
    return turn.stages[stage].exposed_ms if stage in turn.stages else 0.0


def _change(promise: str, change_ms: float, expected_ms: float) -> Promise:
    return Promise(promise, f"{change_ms:+.2f} ms", change_ms, holds=abs(change_ms - expected_ms) < TOLERANCE_MS)


if __name__ == "__main__":
    sys.exit(main())
