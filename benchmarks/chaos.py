"""Measures what callers hear when each stage of an agent fails in each way at each moment: `turngap chaos`, all of it.

    python -m benchmarks.chaos [--profile scripted] [--seed 1] [--calls N] [--agents 6] [--json]    about 6 minutes
    python -m benchmarks.chaos --kill                         engines in processes of their own, killed: 2 minutes

With the profile `scripted` a turn model is asked too (`endpointing.policy=speculative`), so that every stage is there;
its voice speaks faster, so that calls are shorter. No deadline is.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
from turngap_agent.errors import HarnessError

from benchmarks.promises import Promise, check_at_most, format_number, make_parser, print_result, run_main

MOST_SILENCE_MS = 5000.0
SETTINGS = {"scripted": ("endpointing.policy=speculative", "tts.ms_per_character=30")}
"""By profile. A reply of the scripted agent then lasts a second: long enough to be spoken over."""
MOVED = tuple(f"{stage}.own_process=true" for stage in ("stt", "llm", "tts"))
"""With `--kill`."""
UNHARMED = 1.10
"""Of the neighbours' median gap to that of a call alone."""


def run_chaos(profile: str, seed: int, calls: int | None, agents: int, *, kill: bool = False) -> dict[str, Any]:
    """Return the document of `turngap chaos`; its progress and its table go to stderr.

    Raises:
        HarnessError: there is none.
    """
    settings = SETTINGS.get(profile, ()) + (MOVED if kill else ())
    sets = [part for setting in settings for part in ("--set", setting)]
    some = ["--calls", str(calls)] if calls is not None else []
    some += ["--only", "kill"] if kill else []
    command = [sys.executable, "-m", "turngap", "chaos", "--profile", profile, "--seed", str(seed), *sets, *some]
    finished = subprocess.run([*command, "--agents", str(agents), "--json"], stdout=subprocess.PIPE, check=False)
    if finished.returncode not in (0, 1):
        raise HarnessError(f"turngap chaos ended with exit code {finished.returncode}; see the lines above")
    document: dict[str, Any] = json.loads(finished.stdout)
    return document


def judge(document: dict[str, Any]) -> list[Promise]:
    """Return what must hold over all rows."""
    rows, n = document["rows"], document["injected"]
    silences = [row["longest_silence_ms"] for row in rows]
    # Neighbours of a process that is killed wait for the next one: that is promised, and is no harm.
    unshared = [row["neighbour"]["median_gap_ms"] for row in rows if row["fault"] != "kill"]
    beside = [gap for gap in unshared if gap is not None]
    alone = document["gap_alone_ms"]
    ratio = float(np.median(beside)) / alone if beside and alone else None
    ended = sum(row["heard"][-1:] not in ([], ["nothing"], ["cut off"]) for row in rows)
    served = sum(row["next_call"] == "answer" for row in rows)
    over = sum(silence > MOST_SILENCE_MS for silence in silences)
    promises = [
        Promise("calls that ended with speech or a polite end", f"{ended} of {n}", ended, holds=ended == n > 0),
        check_at_most("calls with silence of over 5 s", over, 0, "", 0),
        Promise("longest silence", format_number(max(silences, default=None)), max(silences, default=None), None),
        Promise("next calls answered", f"{served} of {n}", served, holds=served == n > 0),
        Promise("survived", f"{document['survived']} of {n}", document["survived"], holds=not document["lost"]),
    ]
    if unshared or not rows:
        promises.append(check_at_most("neighbours' median gap, as a multiple of a call's alone", ratio, UNHARMED, "×"))
    lost = Counter(f"{row['stage']} {row['fault']}" for row in rows if not row["survived"])
    return promises + [Promise(f"lost: {name}", str(count), count, None) for name, count in sorted(lost.items())]


def main() -> int:
    """Inject all faults; return 0 if every promise holds."""
    parser = make_parser(__doc__)
    parser.add_argument("--profile", default="scripted")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, help="so many faults, instead of all")
    parser.add_argument("--agents", type=int, default=6, help="agents at the same time (default 6)")
    parser.add_argument("--kill", action="store_true", help="kill the processes of engines, instead of all faults")
    options = parser.parse_args()
    document = run_chaos(options.profile, options.seed, options.calls, options.agents, kill=options.kill)
    return print_result("chaos", judge(document), document, as_json=options.json)


if __name__ == "__main__":
    sys.exit(run_main(main))
