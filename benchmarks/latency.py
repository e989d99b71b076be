"""Measures the turn gap on the gate's corpus: speculation against plain silence, interleaved.

    python -m benchmarks.latency [--turns N] [--silence-ms 416] [--json]         206 utterances: about an hour
    python -m benchmarks.latency --sweep results/SWEEP-ID                        reads a finished one

The plain silence is as safe as the speculation: the shortest that ends hardly any turn in a pause of 400 ms
(`python -m benchmarks.pauses` measures both settings on such pauses).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from turngap.report.wording import STAGE
from turngap_agent.tracing import Stage

from benchmarks.promises import (
    Promise,
    check_at_most,
    format_number,
    format_percent,
    make_parser,
    print_result,
    print_table,
    run_main,
)
from benchmarks.sweeps import SPECULATIVE, MeasuredSetting, add_sweep_options, is_valid, measure_settings

SILENCE_MS = 416
SPECULATION = "speculative"
"""The name of that setting."""
AIM = {"median": 400.0, "p95": 500.0}
LEAST = {"median": 500.0, "p95": 650.0}
LESS = 0.40
"""By which share the median must be below that of plain silence."""


def make_settings(silence_ms: int) -> dict[str, tuple[str, ...]]:
    """Return the two settings that are compared, the reference first."""
    return {
        f"silence {silence_ms} ms": ("endpointing.policy=silence", f"endpointing.min_silence_ms={silence_ms}"),
        SPECULATION: SPECULATIVE,
    }


def promises(silence: MeasuredSetting, speculative: MeasuredSetting) -> list[Promise]:
    """Return the promises of the turn gap at the media edge."""
    gap, plain = speculative.point.turn_gap_ms, silence.point.turn_gap_ms
    figures = {"median": gap.p50, "p95": gap.p95}
    rows = [
        Promise(
            f"{setting.point.name}: complete and not INVALID", setting.run.record.verdict, None, is_valid(setting.run)
        )
        for setting in (silence, speculative)
    ]
    for name, value in figures.items():
        rows.append(check_at_most(f"{name} of the turn gap <= {LEAST[name]:.0f} ms", value, LEAST[name], digits=0))
        rows.append(Promise(f"the aim: {name} <= {AIM[name]:.0f} ms", _format_aim(value, AIM[name]), value, holds=None))
    rows.append(Promise("p95 is at most (95 % confidence)", format_number(gap.p95_upper), gap.p95_upper, holds=None))
    less = None if gap.p50 is None or plain.p50 is None else 1 - gap.p50 / plain.p50
    rows.append(
        Promise(
            f"median >= {LESS:.0%} under plain silence",
            format_percent(less),
            less,
            holds=less is not None and less >= LESS,
        )
    )
    words = speculative.point.first_clause_words
    rows.append(Promise("length of the first clause, median", format_number(words, "words"), words, holds=None))
    unexplained = speculative.point.exposed_p50_ms.get(Stage.UNEXPLAINED)
    rows.append(check_at_most("unexplained, median <= 10 ms", unexplained, 10.0, digits=1))
    return rows


def main() -> int:
    """Print the tables; return 1 if a promise does not hold."""
    parser = add_sweep_options(make_parser(__doc__))
    parser.add_argument("--silence-ms", type=int, default=SILENCE_MS, help="plain silence that ends a turn")
    options = parser.parse_args()
    silence, speculative = measure_settings("gate", make_settings(options.silence_ms), options)
    both = (silence, speculative)
    rows = [
        (
            setting.point.name,
            str(setting.point.n_turns),
            str(setting.point.answered),
            format_number(setting.point.turn_gap_ms.p50),
            format_number(setting.point.turn_gap_ms.p95),
            format_number(setting.point.turn_gap_ms.p95_upper),
            format_percent(setting.point.within_500, 0),
            f"{setting.point.cut_off_rate.events} of {setting.point.cut_off_rate.n}",
            format_percent(setting.point.wer),
            format_number(setting.point.first_clause_words, "words"),
        )
        for setting in both
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
    print_table("turn gap on the gate's corpus", columns, rows, as_json=options.json)
    print_table(
        "exposed medians of the stages",
        ("stage", *(setting.point.name for setting in both)),
        make_stage_rows(both),
        as_json=options.json,
    )
    details = {"points": [setting.point.model_dump(mode="json") for setting in both]}
    return print_result("latency", promises(silence, speculative), details, as_json=options.json)


def make_stage_rows(settings: Sequence[MeasuredSetting]) -> list[tuple[str, ...]]:
    """Return a row for each stage: its exposed median with each setting."""
    present = [stage for stage in Stage if any(stage in setting.point.exposed_p50_ms for setting in settings)]
    return [
        (STAGE[stage][0], *(format_number(setting.point.exposed_p50_ms.get(stage), digits=1) for setting in settings))
        for stage in present
    ]


def _format_aim(value: float | None, aim: float) -> str:
    return "not measured" if value is None else f"{value:.0f} ms, {'reached' if value <= aim else 'not reached'}"


if __name__ == "__main__":
    sys.exit(run_main(main))
