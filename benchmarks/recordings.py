"""Compares what `turngap recording` finds with hand labels: onsets, and who yielded when the other began.

FOLDER has two-channel recordings, NAME.wav, each with NAME.json: `channels` ({"newcomer": 0, "holder": 1}),
`newcomer_begins_s`, `holder_yields`, and `newcomer_speech_s` and `holder_speech_s`, lists of [start, end] in seconds.
The holder has the floor when the newcomer begins, and yields if it stops while the newcomer goes on. Onsets are those
of all labelled stretches that begin inside the recording; each is compared with the nearest that was found.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from turngap.recordings.call_talk import CallTalk, find_talk
from turngap.recordings.sound import open_call
from turngap.recordings.talk import Entry, Side, Spurt, follow_floor
from turngap_agent.documents import FrozenModel

from benchmarks.promises import Promise, check_at_most, make_parser, print_result, run_main

FROM_START_S = 0.05
"""A stretch that begins sooner was cut by the start of the recording: it has no onset."""


class DialogueLabels(FrozenModel, extra="ignore"):
    """The labels of one recording, NAME.json."""

    channels: dict[str, int]
    newcomer_begins_s: float
    holder_yields: bool
    newcomer_speech_s: tuple[tuple[float, float], ...]
    holder_speech_s: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """One recording beside its labels."""

    name: str
    begins_ms: float
    """Found less labelled: where the newcomer begins."""
    newcomer_ms: tuple[float, ...]
    """Of each onset of the newcomer."""
    holder_ms: tuple[float, ...]
    yields: bool
    labelled_yields: bool


def compare_dialogue(name: str, talk: CallTalk, labels: DialogueLabels) -> Compared:
    """Compare a recording's talk with its labels; the newcomer counts as the caller."""
    newcomer, holder = (talk.tracks[labels.channels[role]].stretches for role in ("newcomer", "holder"))
    spurts = follow_floor(newcomer, holder, talk.length_ms)
    begins_ms = 1000 * labels.newcomer_begins_s
    starts = [stretch.start.at_ms for stretch in newcomer]
    return Compared(
        name,
        _nearest_ms(begins_ms, starts),
        tuple(_nearest_ms(at, starts) for at in _onsets_ms(labels.newcomer_speech_s)),
        tuple(
            _nearest_ms(at, [stretch.start.at_ms for stretch in holder]) for at in _onsets_ms(labels.holder_speech_s)
        ),
        _yields(spurts, begins_ms),
        labels.holder_yields,
    )


def _yields(spurts: Sequence[Spurt], begins_ms: float) -> bool:
    """Return whether the floor went to the newcomer with the talk that begins there."""
    own = [spurt for spurt in spurts if spurt.side is Side.CALLER]
    nearest = min(own, key=lambda spurt: abs(spurt.start_ms - begins_ms), default=None)
    return nearest is not None and nearest.entry in (Entry.YIELD, Entry.GAP)


def _onsets_ms(spans: Sequence[tuple[float, float]]) -> list[float]:
    return [1000 * start for start, _ in spans if start > FROM_START_S]


def _nearest_ms(at_ms: float, starts: Sequence[float]) -> float:
    """Return the nearest start less `at_ms`; infinite if there is none."""
    return min((start - at_ms for start in starts), key=abs, default=float("inf"))


def _print_table(rows: Sequence[Compared], console: Console) -> None:
    table = Table("recording", "begins, ms", "newcomer's onsets, ms", "holder's onsets, ms", "holder", "labelled")
    for row in rows:
        onsets = (" ".join(f"{ms:+.0f}" for ms in many) for many in (row.newcomer_ms, row.holder_ms))
        found, labelled = ("yields" if each else "holds" for each in (row.yields, row.labelled_yields))
        table.add_row(row.name, f"{row.begins_ms:+.0f}", *onsets, found, labelled)
    console.print(table)


def main() -> int:
    """Compare every labelled recording of a folder; return the exit code."""
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path, help="recordings with two channels, each NAME.wav with NAME.json")
    arguments = parser.parse_args()
    files = sorted(file for file in arguments.folder.glob("*.json") if file.with_suffix(".wav").is_file())
    if not files:
        parser.error(f"{arguments.folder}: no NAME.wav with NAME.json")
    rows = []
    for file in files:
        labels = DialogueLabels.model_validate(json.loads(file.read_text("utf-8")))
        rows.append(compare_dialogue(file.stem, find_talk(open_call(file.with_suffix(".wav"))), labels))
    _print_table(rows, Console(stderr=arguments.json, width=120))
    begins = np.abs([row.begins_ms for row in rows])
    every = np.abs([ms for row in rows for ms in (*row.newcomer_ms, *row.holder_ms)])
    wrong = sum(row.yields is not row.labelled_yields for row in rows)
    promises = [
        check_at_most("newcomer's beginning, largest difference", float(begins.max()), 60.0),
        check_at_most("newcomer's beginning, median difference", float(np.median(begins)), 30.0),
        check_at_most("yields and holds otherwise than labelled", float(wrong), 0.0, "", 0),
        Promise(
            f"all {len(every)} labelled onsets, median difference",
            f"{np.median(every):.0f} ms; {(every > 60).sum()} over 60 ms",
            float(np.median(every)),
            holds=None,
        ),
    ]
    details = {
        "recordings": [asdict(row) for row in rows],
        "onsets": len(every),
        "onsets_median_ms": float(np.median(every)),
        "onsets_over_60_ms": int((every > 60).sum()),
    }
    return print_result("recordings", promises, details, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(run_main(main))
