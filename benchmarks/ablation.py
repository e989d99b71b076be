"""Measures what each part of the fast answer contributes: 60 utterances of the gate's corpus, one more part per step.

    python -m benchmarks.ablation [--turns 60] [--silence-ms 416] [--last N] [--json]            about an hour
    python -m benchmarks.ablation --sweep results/SWEEP-ID                                       reads a finished one

The steps are interleaved. Before the last two steps a turn ends by silence only, first that of the voice detector, then
quiet audio too; in these two Smart Turn, and then the words, decide how much silence is needed. If a step holds work
back until the end of turn is confirmed, that wait is *endpointing*.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from turngap.sweeps.points import Difference, difference

from benchmarks.latency import SILENCE_MS, make_stage_rows
from benchmarks.promises import Promise, format_number, format_percent, make_parser, print_result, print_table, run_main
from benchmarks.sweeps import SPECULATIVE, MeasuredSetting, add_sweep_options, is_valid, measure_settings

TURNS = 60
FULL_WINDOW = "stt.window=full"
NO_EARLY_PHRASE = "llm.early_phrase=false"
NO_PHRASES = "tts.phrases=[]"
NO_DRAFTS = "llm.draft_tokens=0"
NOT_EARLY = "endpointing.early_ms_per_s=0"
SMART_TURN_ALONE = (
    "endpointing.model={engine: smart_turn}",
    "endpointing.cut_off_rate=null",
    "endpointing.max_silence_ms=800",
)
"""`threshold` and `doubt` turn Smart Turn's probability into silence: rate and limit of the pace are for words."""
NO_TURN_MODEL = "endpointing.model=null"
"""Without a turn model the silence alone ends a turn."""


def steps(silence_ms: int) -> dict[str, tuple[str, ...]]:
    """Return the steps by name, each with its changes of the profile."""
    before = (NO_EARLY_PHRASE, NO_PHRASES, NO_DRAFTS, NOT_EARLY)
    silence = ("endpointing.policy=silence", f"endpointing.min_silence_ms={silence_ms}", *before)
    ahead = (
        "endpointing.policy=speculative",
        NO_TURN_MODEL,
        "endpointing.drop_db=null",
        *before,
        f"endpointing.min_silence_ms={silence_ms}",
        f"endpointing.max_silence_ms={2 * silence_ms}",
    )
    return {
        "plain silence": (*silence, FULL_WINDOW),
        "+ short window": silence,
        "+ transcription before the end": (*ahead, "endpointing.speculate=transcription"),
        "+ speculative generation": (*ahead, "endpointing.speculate=generation"),
        "+ speculative synthesis": (*ahead, "endpointing.speculate=synthesis"),
        "+ quiet taken for silence at once": (*SPECULATIVE, NO_TURN_MODEL, *before),
        "+ first clause up to a phrase": (*SPECULATIVE, NO_TURN_MODEL, *before[1:]),
        "+ common first clauses kept as audio": (*SPECULATIVE, NO_TURN_MODEL, *before[2:]),
        "+ drafted tokens": (*SPECULATIVE, NO_TURN_MODEL, *before[3:]),
        "+ sooner after long turns": (*SPECULATIVE, NO_TURN_MODEL),
        "+ Smart Turn": (*SPECULATIVE, *SMART_TURN_ALONE),
        "the words in its place": (),
    }


def make_rows(settings: Sequence[MeasuredSetting]) -> list[tuple[str, ...]]:
    """Return a row for each step, with its difference from the step before."""
    rows: list[tuple[str, ...]] = []
    for place, setting in enumerate(settings):
        moved = difference(setting.run.turns, settings[place - 1].run.turns) if place else None
        wasted = setting.point.wasted
        rows.append(
            (
                setting.point.name,
                str(setting.point.n_turns),
                format_number(setting.point.turn_gap_ms.p50),
                format_number(setting.point.turn_gap_ms.p95),
                *_format_change(moved),
                str(setting.point.cut_off_rate.events),
                format_percent(setting.point.wer),
                format_percent(wasted.share if wasted is not None else None, 0),
                format_number(setting.point.first_clause_words, "words"),
            )
        )
    return rows


def main() -> int:
    """Print the tables; return 1 if the run of a step is incomplete or INVALID."""
    parser = add_sweep_options(make_parser(__doc__))
    parser.add_argument("--silence-ms", type=int, default=SILENCE_MS, help="silence that ends a turn before Smart Turn")
    parser.add_argument("--last", type=int, default=0, metavar="N", help="only the last N steps (default: all)")
    options = parser.parse_args()
    chosen = dict(list(steps(options.silence_ms).items())[-options.last :])
    settings = measure_settings("gate", chosen, options, TURNS)
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
    print_table("what each part brings", columns, make_rows(settings), as_json=options.json)
    names = ("stage", *(str(place) for place in range(1, len(settings) + 1)))
    print_table("exposed medians of each step", names, make_stage_rows(settings), as_json=options.json)
    promises = [
        Promise(
            f"{setting.point.name}: whole, and its instrument in order",
            setting.run.record.verdict,
            None,
            is_valid(setting.run),
        )
        for setting in settings
    ]
    details = {"points": [setting.point.model_dump(mode="json") for setting in settings]}
    return print_result("ablation", promises, details, as_json=options.json)


def _format_change(change: Difference | None) -> tuple[str, str]:
    if change is None or change.median_change_ms is None or change.low_ms is None or change.high_ms is None:
        return "–", "–"
    return f"{change.median_change_ms:+.0f} ms", f"{change.low_ms:+.0f} to {change.high_ms:+.0f} ({change.pairs} pairs)"


if __name__ == "__main__":
    sys.exit(run_main(main))
