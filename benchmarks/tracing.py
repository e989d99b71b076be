"""Measures what tracing costs the caller: the turn gap of an agent that exports spans, against one that does not.

    python -m benchmarks.tracing [--turns 80] [--json]                           about 6 minutes for 80 pairs

Two agents with scripted engines run side by side, one with an OTLP endpoint, one without. They are called alternately
with the same utterance and the frames at the same positions. The gap is measured from the audio. The mean and the
median difference are judged by their 95 % intervals, which must be within 1 ms of 0.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import numpy as np
from scipy import stats
from turngap.caller.priority import raised_priority
from turngap.model.turn import TurnRecord

from benchmarks.promises import Promise, make_parser, print_result
from benchmarks.side_by_side import Variant, is_answered, side_by_side

ON, OFF = "tracing on", "tracing off"
BOUND_MS = 1.0


async def measure_rounds(turns: int) -> list[dict[str, TurnRecord]]:
    """Return `turns` pairs of turns."""
    async with side_by_side({ON: Variant(), OFF: Variant(traced=False)}) as caller:
        return await caller.rounds(turns)


def compute_differences(
    rounds: Sequence[dict[str, TurnRecord]], with_: str = ON, without: str = OFF
) -> tuple[list[float], list[float]]:
    """Return the gaps of two agents, ms, by default with and without tracing, where both turns were answered."""
    pairs = [round_ for round_ in rounds if is_answered(round_[with_]) and is_answered(round_[without])]
    gaps = [(round_[with_].turn_gap_ms, round_[without].turn_gap_ms) for round_ in pairs]
    complete = [(on, off) for on, off in gaps if on is not None and off is not None]
    return [on for on, _ in complete], [off for _, off in complete]


def make_promises(
    on_ms: Sequence[float], off_ms: Sequence[float], on: str = ON, off: str = "off", *, judged: bool = True
) -> list[Promise]:
    """Return the promises of the mean (interval of the paired t test) and of the median (exact binomial interval).

    Without `judged` they are for information.
    """
    if len(on_ms) < 6:  # with fewer pairs the exact interval of a median is unbounded
        return [Promise("6 pairs or more", f"{len(on_ms)} pairs", None, holds=False)]
    differences_ms = np.subtract(on_ms, off_ms)
    mean = stats.ttest_1samp(differences_ms, 0.0).confidence_interval(0.95)  # the interval of the paired t test
    ranked = np.sort(differences_ms)
    rank = int(stats.binom.ppf(0.025, len(ranked), 0.5))  # the interval from this rank to its mirror covers 95 %
    return [
        _promise_within(
            f"mean turn gap, {on} less {off}", float(np.mean(differences_ms)), float(mean.low), float(mean.high), judged
        ),
        _promise_within(
            f"median turn gap, {on} less {off}",
            float(np.median(differences_ms)),
            float(ranked[rank - 1]),
            float(ranked[-rank]),
            judged,
        ),
    ]


def main() -> int:
    """Print the table; return 1 if a promise does not hold."""
    options = make_parser(__doc__)
    options.add_argument("--turns", type=int, default=80, help="pairs of turns")
    arguments = options.parse_args()
    with raised_priority():
        on_ms, off_ms = compute_differences(asyncio.run(measure_rounds(arguments.turns)))
    rows = make_promises(on_ms, off_ms)
    left_out = arguments.turns - len(on_ms)
    rows.append(
        Promise(
            "pairs left out <= 10 %",
            f"{left_out} of {arguments.turns}",
            left_out,
            holds=left_out <= arguments.turns / 10,
        )
    )
    return print_result(
        "tracing", rows, {"pairs": len(on_ms), "on_ms": on_ms, "off_ms": off_ms}, as_json=arguments.json
    )


def _promise_within(name: str, value: float, low: float, high: float, judged: bool) -> Promise:
    return Promise(
        f"{name}: 95 % interval within ±{BOUND_MS:g} ms",
        f"{value:+.2f} ms [{low:+.2f}, {high:+.2f}]",
        value,
        holds=(bool(low > -BOUND_MS and high < BOUND_MS)) if judged else None,
    )


if __name__ == "__main__":
    sys.exit(main())
