"""What does each part of the fast answer bring? Sixty utterances of the gate's corpus, interleaved, a part more a step.

    python -m benchmarks.ablation [--turns 60] [--silence-ms 416] [--json]                       about 30 minutes
    python -m benchmarks.ablation --sweep results/SWEEP-ID                                       reads a finished one

Up to the last step a turn ends by silence alone, the voice detector's until quiet is taken for it; the last one lets
Smart Turn decide how much is needed. Where a step holds work back until the end is certain, that wait is *endpointing*.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from turngap.sweeps.points import Difference, difference

from benchmarks.common import Promise, conclude, finished, parser
from benchmarks.latency import SILENCE_MS, stages
from benchmarks.swept import SPECULATIVE, Setting, measured, number, options, percent, show, sound

TURNS = 60
FULL_WINDOW = "stt.window=full"
SMART_TURN = "endpointing.model={engine: smart_turn}"
NO_TURN_MODEL = "endpointing.model=null"
"""Nobody is asked whether the turn sounds complete: what is left is the silence."""


def steps(silence_ms: int) -> dict[str, tuple[str, ...]]:
    """Each with all that it sets; what it does not set is as in the profile."""
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


def table(found: Sequence[Setting]) -> list[tuple[str, ...]]:
    """A row for each step, with its difference from the one before."""
    rows: list[tuple[str, ...]] = []
    for place, each in enumerate(found):
        moved = difference(each.run.turns, found[place - 1].run.turns) if place else None
        wasted = each.point.wasted
        rows.append(
            (
                each.point.name,
                str(each.point.n_turns),
                number(each.point.turn_gap_ms.p50),
                number(each.point.turn_gap_ms.p95),
                *_moved(moved),
                str(each.point.cut_off_rate.events),
                percent(each.point.wer),
                percent(wasted.share if wasted is not None else None, 0),
                number(each.point.first_clause_words, "words"),
            )
        )
    return rows


def main() -> int:
    """Print the tables; exit 1 where a step was not measured as it should be."""
    made = options(parser(__doc__))
    made.add_argument("--silence-ms", type=int, default=SILENCE_MS, help="silence that ends a turn before Smart Turn")
    given = made.parse_args()
    found = measured("gate", steps(given.silence_ms), given, TURNS)
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
    show("what each part brings", columns, table(found), as_json=given.json)
    names = ("stage", *(str(place) for place in range(1, len(found) + 1)))
    show("exposed medians of each step", names, stages(found), as_json=given.json)
    promises = [
        Promise(
            f"{each.point.name}: whole, and its instrument in order", each.run.record.verdict, None, sound(each.run)
        )
        for each in found
    ]
    details = {"points": [each.point.model_dump(mode="json") for each in found]}
    return conclude("ablation", promises, details, as_json=given.json)


def _moved(found: Difference | None) -> tuple[str, str]:
    if found is None or found.median_change_ms is None or found.low_ms is None or found.high_ms is None:
        return "–", "–"
    return f"{found.median_change_ms:+.0f} ms", f"{found.low_ms:+.0f} to {found.high_ms:+.0f} ({found.pairs} pairs)"


if __name__ == "__main__":
    sys.exit(finished(main))
