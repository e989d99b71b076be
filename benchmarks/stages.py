"""Measures whether two runs of one stage agree, on a profile's real engines, and whether parts and floors add up.

    python -m benchmarks.stages [--profile cpu] [--stages vad,turn,stt,llm,tts] [--repeats 20] [--json]

Each engine is measured twice, each time in a process of its own (`turngap stage STAGE --busy`), with the same inputs.
The runs agree if the interval of the ratio of their medians includes 1; the intervals are as wide as is needed for 95 %
over all comparisons together. In both runs the parts must add up to the whole within 2 %, whatever is null must have
its reason, and nothing may be faster than its floor.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from turngap import api
from turngap.cli import stage
from turngap.corpus import clips as corpus
from turngap_agent.errors import AgentError, UsageError
from turngap_agent.stage.split import TOLERANCE
from turngap_agent.stage.statistics import LEAST, agree

from benchmarks.promises import Promise, check_at_most, make_parser, print_progress, print_result, run_main

STAGES = ("vad", "turn", "stt", "llm", "tts")
RUNS = 2
FAMILY_ERROR = 0.05
"""How often equal runs may be said to differ, over all comparisons of a benchmark."""


def measure_stages(profile: str, stages: Sequence[str], repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Return the documents of each stage's runs. All stages are measured once, then all again.

    Raises:
        UsageError: (or a subclass) a stage or the profile is wrong; its own line is printed before.
        AgentError: an engine could not be measured.
    """
    request = api.make_request("default", agent=api.Agent(source=profile))
    assert request.profile is not None
    clips = corpus.build_corpus(request.scenario, print_progress)
    inputs = stage.make_inputs(clips, request.profile, repeats)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in stages}
    for run in range(1, RUNS + 1):
        for name in stages:
            print_progress(f"{name}, run {run} of {RUNS}")
            options = stage.StageRequest(name, profile=profile, busy=True, repeats=repeats)
            code, document = stage.measure(options, request.profile_data, inputs)
            if document is None:
                raise AgentError(f"stage {name} of profile {profile} was not measured (exit code {code})")
            found[name].append(document)
    return found


def judge(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Promise]:
    """Return the promises on the runs of each stage."""
    comparisons = sum(len(_series(runs)) for runs in found.values())
    confidence = 1 - FAMILY_ERROR / max(1, comparisons)
    return [promise for name, runs in found.items() for promise in _judge_stage(name, runs, confidence)]


def _judge_stage(name: str, runs: Sequence[Mapping[str, Any]], confidence: float) -> Iterator[Promise]:
    one, other = runs
    for what in _series(runs):
        before, after = one["each_ms"][what], other["each_ms"][what]
        ratio = statistics.median(after) / statistics.median(before)
        text = f"{statistics.median(before):.3g}, {statistics.median(after):.3g} ms"
        yield Promise(f"{name}: two runs agree, {what}", text, ratio, holds=agree(before, after, confidence))
    for run in runs:
        if run["split_share"] is None:
            yield Promise(f"{name}: parts", run["reasons"]["split_ms"], None, holds=None)
        else:
            off = 100 * abs(run["split_share"] - 1)
            yield check_at_most(f"{name}: parts add up to the whole within 2 %", off, 100 * TOLERANCE, "%")
        silent = sorted(field for field, value in run.items() if value is None and not _is_explained(field, run))
        yield Promise(f"{name}: what is null has a reason", ", ".join(silent) or "all", len(silent), holds=not silent)
        distance = run["distance_to_floor"]
        if distance is not None:
            yield Promise(f"{name}: no faster than its floor", f"{distance:.2f} times", distance, holds=distance >= 1)
        else:
            yield Promise(f"{name}: floor", run["reasons"]["floor_ms"], None, holds=None)


def _series(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the times that can be compared; an engine whose first output is all has one."""
    each = runs[0]["each_ms"]
    first, whole = each
    return [whole] if each[first] == each[whole] else [first, whole]


def _is_explained(field: str, run: Mapping[str, Any]) -> bool:
    """Whether a null is what was asked for, or has its reason."""
    if field in ("cadence_s", "beside"):
        return True  # back to back, and alone
    if field == "floor":
        return "floor_ms" in run["reasons"]
    if field == "split_share":
        return "split_ms" in run["reasons"]
    return field == "rtf" or field in run["reasons"]


def main() -> int:
    """Print the table; return 1 if a promise does not hold."""
    options = make_parser(__doc__)
    options.add_argument("--profile", default="cpu", help="whose engines")
    options.add_argument("--stages", default=",".join(STAGES), help="which, separated by commas")
    options.add_argument("--repeats", type=int, default=20, help="units in each run")
    arguments = options.parse_args()
    names = [name.strip() for name in arguments.stages.split(",") if name.strip()]
    if not names or set(names) - set(STAGES):
        raise UsageError(f"--stages {arguments.stages}: expected some of {', '.join(STAGES)}")
    if arguments.repeats < LEAST:
        raise UsageError(f"--repeats {arguments.repeats}: at least {LEAST}, or a median has no interval")
    found = measure_stages(arguments.profile, names, arguments.repeats)
    return print_result("stages", judge(found), {"stages": found}, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(run_main(main))
