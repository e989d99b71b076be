"""Measures whether a line that sends no frames while its caller is silent is answered as soon as any other.

    python -m benchmarks.silent_lines [--profile scripted] [--pairs 40] [--at-once 4] [--json]      about 2 minutes

Each call is placed twice, on a line that sends a frame every 20 ms and on one that suppresses silence: the same words
at the same place on the frame grid. Which comes first alternates. The difference of the two gaps is that of the line.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from turngap.chaos.conversations import make_callers
from turngap.scenario import NO_IMPAIRMENTS, LineImpairments
from turngap.session.preparation import fetch_weights
from turngap_agent import profile as profiles

from benchmarks.agent_calls import AgentCalls, open_agent
from benchmarks.promises import (
    Promise,
    check_at_most,
    format_number,
    make_parser,
    print_progress,
    print_result,
    run_main,
)

MOST_MS = 40.0
LINES = (NO_IMPAIRMENTS, LineImpairments(suppress_silence=True))


@dataclass(frozen=True, slots=True)
class Pair:
    """The gaps of one call on both lines, ms; None for no answer."""

    with_frames_ms: float | None
    without_ms: float | None

    @property
    def difference_ms(self) -> float | None:
        """How much later the line without frames was answered."""
        if self.with_frames_ms is None or self.without_ms is None:
            return None
        return self.without_ms - self.with_frames_ms


async def place_pairs(calls: AgentCalls, pairs: int, at_once: int) -> list[Pair]:
    """Place every call on both lines, so many at once; which line comes first alternates."""
    found = []
    for wave, first in enumerate(range(0, pairs, at_once)):
        indices = range(first, min(first + at_once, pairs))
        order = (0, 1) if wave % 2 == 0 else (1, 0)
        gaps: dict[int, list[float | None]] = {}
        for line in order:
            gaps[line] = await asyncio.gather(*(calls.place(index, LINES[line]) for index in indices))
        found += [Pair(*both) for both in zip(gaps[0], gaps[1], strict=True)]
        print_progress(f"{len(found)}/{pairs} pairs")
    return found


def judge(pairs: Sequence[Pair]) -> list[Promise]:
    """Return what must hold."""
    differences = [pair.difference_ms for pair in pairs if pair.difference_ms is not None]
    answered = len(differences)
    with_frames = [pair.with_frames_ms for pair in pairs if pair.with_frames_ms is not None]
    median = float(np.median(differences)) if differences else None
    worst = max(differences, key=abs) if differences else None
    usual = float(np.median(with_frames)) if with_frames else None
    return [
        Promise("calls answered on both lines", f"{answered} of {len(pairs)}", answered, answered == len(pairs) > 0),
        Promise("median gap on the line with frames", format_number(usual), usual, None),
        Promise("median difference of the line without", format_number(median, digits=1), median, None),
        Promise("largest difference", format_number(worst, digits=1), worst, None),
        check_at_most("median difference, either way", abs(median) if median is not None else None, MOST_MS, digits=1),
        check_at_most("largest difference, either way", abs(worst) if worst is not None else None, MOST_MS, digits=1),
    ]


async def measure(profile_name: str, pairs: int, at_once: int) -> list[Pair]:
    """Start an agent of the profile, and place the calls.

    Raises:
        TurngapError: the profile is unknown, or its agent did not start.
    """
    profile = profiles.load(profile_name)
    fetch_weights(profile.model_dump(mode="json"))
    async with open_agent(profile, make_callers(profile, 1, print_progress), at_once) as calls:
        await calls.place(pairs)  # the first may be slow
        return await place_pairs(calls, pairs, at_once)


def main() -> int:
    """Place the calls; return 0 if every promise holds."""
    parser = make_parser(__doc__)
    parser.add_argument("--profile", default="scripted")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--at-once", type=int, default=4, help="calls at the same time (default 4)")
    options = parser.parse_args()
    if options.pairs < 1 or options.at_once < 1:
        parser.error("--pairs and --at-once: must be at least 1")
    pairs = asyncio.run(measure(options.profile, options.pairs, options.at_once))
    details = {"profile": options.profile, "pairs": [asdict(pair) for pair in pairs]}
    return print_result("silent_lines", judge(pairs), details, as_json=options.json)


if __name__ == "__main__":
    sys.exit(run_main(main))
