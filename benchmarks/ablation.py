"""Measures what each part of the fast answer contributes: 60 utterances of the gate's corpus, one more part per step.

    python -m benchmarks.ablation [--turns 60] [--silence-ms 416] [--json]                       about 30 minutes
    python -m benchmarks.ablation --sweep results/SWEEP-ID                                       reads a finished one

The steps are interleaved. Before the last step a turn ends by silence only, first that of the voice detector, then
quiet audio too; in the last step Smart Turn decides how much silence is needed. If a step holds work back until the end
of turn is confirmed, that wait is *endpointing*.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from turngap.sweeps.points import Difference, difference

from benchmarks.latency import SILENCE_MS, stages
from benchmarks.promises import Promise, format_number, format_percent, make_parser, print_result, print_table, run_main
from benchmarks.sweeps import SPECULATIVE, MeasuredSetting, add_sweep_options, is_valid, measure_settings

TURNS = 60
FULL_WINDOW = "stt.window=full"
SMART_TURN = "endpointing.model={engine: smart_turn}"
NO_TURN_MODEL = "endpointing.model=null"
"""Without a turn model the silence alone ends a turn."""


def steps(silence_ms: int) -> dict[str, tuple[str, ...]]:
    """Return the steps by name, each with its changes of the profile."""
    silence = ("endpointing.policy=silence", f"endpointing.min_silence_ms={silence_ms}")
    ahead = (
        "endpointing.policy=speculative",
        NO_TURN_MODEL,
        "endpointing.drop_db=null",
        f"endpointing.min_silence_ms={silence_ms}",
        f"endpointing.max_silence_ms={2 * silence_ms}",
    )
    return {
        "plain silence": (*silence, FULL_WINDOW),
        "+ short window": silence,
        "+ transcription before the end": (*ahead, "endpointing.speculate=transcription"),
        "+ speculative generation": (*ahead, "endpointing.speculate=generation"),
        "+ speculative synthesis": (*ahead, "endpointing.speculate=synthesis"),
        "+ quiet taken for silence at once": (*SPECULATIVE, NO_TURN_MODEL),
        "+ Smart Turn": (*SPECULATIVE, SMART_TURN),
    }


def table(found: Sequence[MeasuredSetting]) -> list[tuple[str, ...]]:
    """Return a row for each step, with its difference from the step before."""
    rows: list[tuple[str, ...]] = []
    for place, each in enumerate(found):
        moved = difference(each.run.turns, found[place - 1].run.turns) if place else None
        wasted = each.point.wasted
        rows.append(
            (
                each.point.name,
                str(each.point.n_turns),
                format_number(each.point.turn_gap_ms.p50),
                format_number(each.point.turn_gap_ms.p95),
                *_moved(moved),
                str(each.point.cut_off_rate.events),
                format_percent(each.point.wer),
                format_percent(wasted.share if wasted is not None else None, 0),
                format_number(each.point.first_clause_words, "words"),
            )
        )
    return rows


def main() -> int:
    """Print the tables; return 1 if the run of a step is incomplete or INVALID."""
    made = add_sweep_options(make_parser(__doc__))
    made.add_argument("--silence-ms", type=int, default=SILENCE_MS, help="silence that ends a turn before Smart Turn")
    given = made.parse_args()
    found = measure_settings("gate", steps(given.silence_ms), given, TURNS)
    columns = (
        "step",
        "turns",
        "median",
        "p95",
        "step's change",
        "95 % interval",
        "cut off",
        "WER",
        "wasted",
        "first clause",
    )
    print_table("what each part brings", columns, table(found), as_json=given.json)
    names = ("stage", *(str(place) for place in range(1, len(found) + 1)))
    print_table("exposed medians of each step", names, stages(found), as_json=given.json)
    promises = [
        Promise(
            f"{each.point.name}: whole, and its instrument in order", each.run.record.verdict, None, is_valid(each.run)
        )
        for each in found
    ]
    details = {"points": [each.point.model_dump(mode="json") for each in found]}
    return print_result("ablation", promises, details, as_json=given.json)


def _moved(found: Difference | None) -> tuple[str, str]:
    if found is None or found.median_change_ms is None or found.low_ms is None or found.high_ms is None:
        return "–", "–"
    return f"{found.median_change_ms:+.0f} ms", f"{found.low_ms:+.0f} to {found.high_ms:+.0f} ({found.pairs} pairs)"


if __name__ == "__main__":
    sys.exit(run_main(main))
