"""Does the agent yield to a caller who speaks over it, go on after a mm-hm, stay silent where nothing was said?

    python -m benchmarks.conversation [--set section.key=value ...] [--json]                     about 15 minutes
    python -m benchmarks.conversation --scenario noise --scenario conversation ...           those, not the four
    python -m benchmarks.conversation --run results/BARGE-IN --run results/QUIET ...             reads finished runs

Runs the scenarios `barge-in` (60 barge-ins, 20 backchannels), `barge-in-echo` (24 and 8), `two-calls` (24 turns, two
callers at a time) and `quiet` (17 turns), one after the other, one policy. A p95 of 60 is bounded: at 95 % confidence
it holds where none of 59 is slower, or one of 93.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from turngap.model.figures import Conversation
from turngap.store import folder as store
from turngap.store.folder import StoredRun
from turngap.verdict.summary import valid_turns

from benchmarks.common import Promise, bounded, conclude, finished, news, parser
from benchmarks.swept import number, percent, run, show, sound

SCENARIOS = ("barge-in", "barge-in-echo", "two-calls", "quiet")
"""What has promises to hold."""
STOP_MS, WENT_ON_MS, CLAUSE_GAP_MS = 250.0, 600.0, 250.0
LOST_MS = 40.0
"""Two frames: less of a sentence is no syllable."""


def promises(found: StoredRun) -> list[Promise]:
    """What was promised of this scenario, with the run's figures."""
    record, talk = found.record, found.record.conversation
    name = record.scenario
    rows = [Promise(f"{name}: whole, and its instrument in order", record.verdict, None, holds=sound(found))]
    if talk is None:
        return rows
    if talk.barge_in_stop_ms.n:
        stop = talk.barge_in_stop_ms
        rows += [
            bounded(f"{name}: the agent yields within {STOP_MS:.0f} ms (p95 of {stop.n})", stop.p95, STOP_MS, digits=0),
            Promise(
                f"{name}: that p95 at most, at 95 % confidence", number(stop.p95_upper), stop.p95_upper, holds=None
            ),
        ]
    backchannels = [turn for turn in valid_turns(found.turns) if turn.is_backchannel]
    if backchannels:
        slowest = talk.went_on_ms.max
        rows += [
            bounded(
                f"{name}: after a backchannel it goes on within {WENT_ON_MS:.0f} ms (p95 of {len(backchannels)})",
                talk.went_on_ms.p95,
                WENT_ON_MS,
                digits=0,
            ),
            Promise(f"{name}: the slowest of them", number(slowest), slowest, holds=None),
            _none(f"{name}: sentences ended by a backchannel", talk, "false_stop_rate"),
            bounded(
                f"{name}: nothing lost or said twice (the most of any sentence, ms)",
                max(max(turn.lost_ms or 0.0, turn.repeated_ms or 0.0) for turn in backchannels),
                LOST_MS,
                digits=0,
            ),
        ]
    if name == "quiet":
        rows.append(_none(f"{name}: turns answered where nothing was said", talk, "intruded_rate"))
    if talk.clause_gap_ms is not None and (gaps := talk.clause_gap_ms).n:
        whole = f"{name}: gaps between clauses <= {CLAUSE_GAP_MS:.0f} ms (the longest of {gaps.n} replies)"
        rows.append(bounded(whole, gaps.max, CLAUSE_GAP_MS, digits=0))
    if record.simultaneous_calls > 1:
        lag = record.agent.loop_lag_p99_ms
        rows.append(Promise(f"{name}: the agent's event loop is late by (p99)", number(lag, digits=1), lag, holds=None))
    dry = record.underrun_rate
    if dry.n:
        rows.append(
            Promise(f"{name}: no underrun inside a reply", f"{dry.events} of {dry.n}", dry.events, holds=not dry.events)
        )
    return rows


def noise(talk: Conversation) -> list[tuple[str, ...]]:
    """A row for each condition: word errors, and those of its clean twins."""
    return [
        (
            name,
            str(talk.wer[name].turns),
            percent(talk.wer[name].wer),
            percent(talk.wer[name].upper),
            percent(talk.twins[name].clean if name in talk.twins else None),
        )
        for name in talk.wer
    ]


def main() -> int:
    """Print the tables; exit 1 where a promise does not hold."""
    made = parser(__doc__)
    made.add_argument("--run", type=Path, action="append", default=[], help="a finished run's folder, to be read")
    made.add_argument("--scenario", action="append", default=[], help="run this one; by default the four with promises")
    made.add_argument("--set", action="append", default=[], help="change the profile: section.key=value")
    made.add_argument("--profile", default="cpu", help="the agent: a profile's name or a .yaml file")
    made.add_argument("--out", type=Path, default=Path("results"), help="where new runs go")
    given = made.parse_args()
    found = [store.read(path) for path in given.run] or _runs(
        given.scenario or SCENARIOS, given.profile, given.set, given.out
    )
    for each in found:
        talk = each.record.conversation
        if talk is not None and len(talk.wer) > 1:
            columns = ("condition", "turns", "WER", "at most", "clean twins")
            show(f"{each.record.scenario}: words understood", columns, noise(talk), as_json=given.json)
    rows = [promise for each in found for promise in promises(each)]
    return conclude("conversation", rows, {"runs": [each.record.run_id for each in found]}, as_json=given.json)


def _runs(scenarios: Sequence[str], profile: str, sets: Sequence[str], out: Path) -> list[StoredRun]:
    found = []
    for scenario in scenarios:
        news(f"scenario {scenario}")
        found.append(run(scenario, profile=profile, sets=sets, out=out))
    return found


def _none(promise: str, talk: Conversation, metric: str) -> Promise:
    rate = talk.rates[metric]
    text = f"{rate.events} of {rate.n}, at most {percent(rate.upper)}"
    return Promise(promise, text, rate.events, holds=rate.n > 0 and not rate.events)


if __name__ == "__main__":
    sys.exit(finished(main))
