"""Checks a run of the smoke scenario for function: every turn heard, understood, explained and reported."""

from __future__ import annotations

import sys
from pathlib import Path

from turngap.api.folders import find_report_path
from turngap.store import folder as store


def main(results: Path) -> int:
    """Exit code 1, with what is wrong, unless every turn of the one run in `results` works."""
    (folder,) = [path.parent for path in results.glob("*/run.json")]
    run = store.read_run(folder)
    faults = []
    turns = [turn for turn in run.turns if not turn.warm_up]
    if len(turns) != 3:
        faults.append(f"3 turns were planned, {len(turns)} are there")
    for turn in turns:
        name = turn.utterance_id
        if turn.t1_ns is None:
            faults.append(f"{name}: no answer ({turn.outcome} {turn.detail})")
        if turn.wer is None or turn.wer > 0.34:
            faults.append(f"{name}: {turn.reference!r} was heard as {turn.transcript!r}")
        if not turn.stages:
            faults.append(f"{name}: no stages ({turn.stages_note})")
        if not turn.reply:
            faults.append(f"{name}: no words in the reply")
    page = find_report_path(folder)
    if not page.is_file() or "<svg" not in page.read_text("utf-8"):
        faults.append(f"{page}: no report, or one without charts")
    for fault in faults:
        print(f"smoke: {fault}", file=sys.stderr)
    print(f"smoke: {len(turns)} turns, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
