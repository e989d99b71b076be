"""Measures false cut-offs in pauses of 250 to 400 ms, and the work that speculation on such pauses wastes.

    python -m benchmarks.pauses [--turns N] [--beside-silence] [--json]          164 utterances: about 18 minutes
    python -m benchmarks.pauses --sweep results/SWEEP-ID                         reads a finished one

`--beside-silence` measures plain silence endpointing on the same pauses too, interleaved, in twice the time.
"""

from __future__ import annotations

import sys

from turngap.model.figures import Rate
from turngap.model.turn import Outcome
from turngap.verdict.stats import rate
from turngap.verdict.summary import valid_turns

from benchmarks.latency import SILENCE_MS, SPECULATION, make_settings
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
from benchmarks.sweeps import MeasuredSetting, add_sweep_options, is_valid, measure_settings

LONGEST_PAUSE_MS = 400.0
CUT_OFFS, WER, WASTED = 0.02, 0.04, 0.35


def cut_offs(setting: MeasuredSetting) -> Rate:
    """Return the rate of false cut-offs in turns whose longest pause is at most `LONGEST_PAUSE_MS`."""
    turns = [
        turn for turn in valid_turns(setting.run.turns) if turn.is_pause_turn and turn.pause_ms <= LONGEST_PAUSE_MS + 1
    ]
    return rate(sum(turn.outcome is Outcome.CUT_OFF for turn in turns), len(turns))


def promises(speculative: MeasuredSetting) -> list[Promise]:
    """Return the promises of cut-offs, word errors and wasted work."""
    cut, record = cut_offs(speculative), speculative.run.record
    wasted = record.conversation.wasted_pauses if record.conversation is not None else None
    share = wasted.share if wasted is not None else None
    dry = record.underrun_rate
    return [
        Promise("complete and not INVALID", record.verdict, None, holds=is_valid(speculative.run)),
        check_at_most(
            f"false cut-offs on pauses <= 400 ms ({cut.events} of {cut.n}): at most {CUT_OFFS:.0%}",
            None if cut.upper is None else 100 * cut.upper,
            100 * CUT_OFFS,
            "%",
        ),
        check_at_most(
            f"word error rate <= {WER:.0%}", None if record.wer is None else 100 * record.wer, 100 * WER, "%"
        ),
        check_at_most(f"wasted work <= {WASTED:.0%}", None if share is None else 100 * share, 100 * WASTED, "%"),
        Promise(
            "no underrun inside a reply", f"{dry.events} of {dry.n}", dry.events, holds=dry.n > 0 and not dry.events
        ),
    ]


def main() -> int:
    """Print the tables; return 1 if a promise does not hold."""
    parser = add_sweep_options(make_parser(__doc__))
    parser.add_argument("--beside-silence", action="store_true", help="measure plain silence too, interleaved")
    parser.add_argument("--silence-ms", type=int, default=SILENCE_MS, help="plain silence that ends a turn")
    options = parser.parse_args()
    changes = make_settings(options.silence_ms)
    speculative = {SPECULATION: changes[SPECULATION]}
    measured = measure_settings("pauses", changes if options.beside_silence else speculative, options)
    rows = []
    for setting in measured:
        cut, wasted = cut_offs(setting), setting.point.wasted
        rows.append(
            (
                setting.point.name,
                str(cut.n),
                str(cut.events),
                format_percent(cut.rate),
                format_percent(cut.upper),
                format_number(setting.point.turn_gap_ms.p50),
                format_percent(setting.point.wer),
                format_percent(wasted.share if wasted is not None else None, 0),
            )
        )
    columns = ("policy", "pause turns", "cut off", "rate", "at most", "median gap", "WER", "wasted")
    print_table("pauses of 250 to 400 ms", columns, rows, as_json=options.json)
    details = {"points": [setting.point.model_dump(mode="json") for setting in measured]}
    return print_result("pauses", promises(measured[-1]), details, as_json=options.json)


if __name__ == "__main__":
    sys.exit(run_main(main))
