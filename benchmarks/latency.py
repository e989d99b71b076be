"""How long do callers wait on the gate's corpus: speculation against plain silence, one mixed run.

    python -m benchmarks.latency [--turns N] [--silence-ms 416] [--json]         190 utterances: about 26 minutes
    python -m benchmarks.latency --sweep results/SWEEP-ID                        reads a finished one

The plain silence is the one that is as safe: the least that leaves nearly all pauses of 400 ms alone
(`python -m benchmarks.pauses` measures both settings on such pauses).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from turngap.report.wording import STAGE
from turngap_agent.tracing import Stage

from benchmarks.common import Promise, bounded, conclude, finished, parser
from benchmarks.swept import SPECULATIVE, Setting, measured, number, options, percent, show, sound

SILENCE_MS = 416
SPECULATION = "speculative"
"""The name of that setting."""
AIM = {"median": 400.0, "p95": 500.0}
LEAST = {"median": 500.0, "p95": 650.0}
LESS = 0.40
"""What the median must be below that of plain silence, as a share."""


def settings(silence_ms: int) -> dict[str, tuple[str, ...]]:
    """The two that are compared; the first is the one that the other is measured against."""
    return {
        f"silence {silence_ms} ms": ("endpointing.policy=silence", f"endpointing.min_silence_ms={silence_ms}"),
        SPECULATION: SPECULATIVE,
    }


def promises(silence: Setting, speculative: Setting) -> list[Promise]:
    """What was promised of the turn gap, at the media edge."""
    gap, plain = speculative.point.turn_gap_ms, silence.point.turn_gap_ms
    figures = {"median": gap.p50, "p95": gap.p95}
    rows = [
        Promise(
            f"{each.point.name}: whole, and its instrument in order", each.run.record.verdict, None, sound(each.run)
        )
        for each in (silence, speculative)
    ]
    for name, value in figures.items():
        rows.append(bounded(f"{name} of the turn gap <= {LEAST[name]:.0f} ms", value, LEAST[name], digits=0))
        rows.append(Promise(f"the aim: {name} <= {AIM[name]:.0f} ms", _aimed(value, AIM[name]), value, holds=None))
    rows.append(Promise("p95 is at most (95 % confidence)", number(gap.p95_upper), gap.p95_upper, holds=None))
    less = None if gap.p50 is None or plain.p50 is None else 1 - gap.p50 / plain.p50
    rows.append(
        Promise(
            f"median >= {LESS:.0%} under plain silence", percent(less), less, holds=less is not None and less >= LESS
        )
    )
    words = speculative.point.first_clause_words
    rows.append(Promise("length of the first clause, median", number(words, "words"), words, holds=None))
    unexplained = speculative.point.exposed_p50_ms.get(Stage.UNEXPLAINED)
    rows.append(bounded("unexplained, median <= 10 ms", unexplained, 10.0, digits=1))
    return rows


def main() -> int:
    """Print the tables; exit 1 where a promise does not hold."""
    made = options(parser(__doc__))
    made.add_argument("--silence-ms", type=int, default=SILENCE_MS, help="plain silence that ends a turn")
    given = made.parse_args()
    silence, speculative = measured("gate", settings(given.silence_ms), given)
    both = (silence, speculative)
    rows = [
        (
            each.point.name,
            str(each.point.n_turns),
            str(each.point.answered),
            number(each.point.turn_gap_ms.p50),
            number(each.point.turn_gap_ms.p95),
            number(each.point.turn_gap_ms.p95_upper),
            percent(each.point.within_500, 0),
            f"{each.point.cut_off_rate.events} of {each.point.cut_off_rate.n}",
            percent(each.point.wer),
            number(each.point.first_clause_words, "words"),
        )
        for each in both
    ]
    columns = (
        "policy",
        "turns",
        "answered",
        "median",
        "p95",
        "p95 at most",
        "<= 500 ms",
        "cut off",
        "WER",
        "first clause",
    )
    show("turn gap on the gate's corpus", columns, rows, as_json=given.json)
    show(
        "what holds the rest back: exposed medians",
        ("stage", *(each.point.name for each in both)),
        stages(both),
        as_json=given.json,
    )
    details = {"points": [each.point.model_dump(mode="json") for each in both]}
    return conclude("latency", promises(silence, speculative), details, as_json=given.json)


def stages(found: Sequence[Setting]) -> list[tuple[str, ...]]:
    """A row for each stage: its exposed median under each setting."""
    present = [stage for stage in Stage if any(stage in each.point.exposed_p50_ms for each in found)]
    return [
        (STAGE[stage][0], *(number(each.point.exposed_p50_ms.get(stage), digits=1) for each in found))
        for stage in present
    ]


def _aimed(value: float | None, aim: float) -> str:
    return "not measured" if value is None else f"{value:.0f} ms, {'reached' if value <= aim else 'not reached'}"


if __name__ == "__main__":
    sys.exit(finished(main))
