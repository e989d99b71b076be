"""The validity checks of a run: what must be true of the instrument and the turns for a bound to be valid. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from turngap.model.agent_figures import GpuWatch
from turngap.model.plural import ordinal, plural
from turngap.model.result import Check
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict import dependence, gpu, stats
from turngap.verdict.content_sample import ContentSample

MAX_INVALID_SHARE = 0.02
OWN_OPENINGS = (
    "the scenario's list of openings that are no content is its own: what counts as the first content is by that list"
)
SINGLE_TURNS = "use a scenario with `turns_per_call: 1`"
MAX_FOREIGN_CPU = 0.25
"""Share of the machine's CPU time used by processes other than agent and instrument."""
MAX_STOLEN_CPU = 0.01
"""Share of the machine's CPU time that its host gave to other machines (steal); stated, never decisive."""
MAX_INSTRUMENT_BIAS_MS = 5.0
MAX_SENTINEL_OVER = 0.05
"""Share of the sentinel's answers whose error may be over that: as many as a p95 leaves out."""
MIN_SENTINEL_SAMPLES = 20
"""With fewer answers the share is stated and not judged: a single one decides it."""
LEAST_CHANGE = 0.05
"""A smaller share of the median gap is negligible, however significant."""
MIN_WATCHED = 0.9
"""Share of the turns during which the sentinel must have measured something."""
MIN_WATCHED_TURNS = 10
"""In a run without a budget, fewer turns are too few to judge that share: a single turn decides it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the verdict uses besides the turns; None means "not known", which a validity check states."""

    planned_turns: int
    complete: bool
    simultaneous_calls: int = 1
    calibration_bias_ms: float | None = None
    """Largest |median error| of the calibration before the run."""
    sentinel_bias_ms: float | None = None
    """Median error of the sentinel call inside the turns' windows."""
    sentinel_samples: int = 0
    sentinel_over_share: float | None = None
    """Share of the sentinel's answers whose error is over 5 ms; None in runs that did not record it."""
    sentinel_p99_ms: float | None = None
    """99th percentile of its absolute errors."""
    sentinel_missed: int = 0
    """Answers of the reference agent inside the turns' windows that the instrument did not find."""
    sentinel_watched: float | None = None
    """Share of the turns' windows in which the sentinel measured something."""
    foreign_cpu_share: float | None = None
    lost_spans: int | None = 0
    """Answered turns whose stages are incomplete; None if the agent sends no spans."""
    stolen_cpu_share: float | None = None
    prefix_flattered: int | None = None
    """Turns for which the prefix cache used another call's work; None if no turn reports it."""
    prefix_cached: bool = False
    """The language model has a cache that calls share."""
    external_agent: bool = False
    """The agent was running already: turngap has no log of it."""
    weightless: bool = False
    """The agent's weights are random: word errors are not judged."""
    own_openings: bool = False
    """The scenario's list of openings that are no content is not the one that ships."""
    vram_peak_mib: float | None = None
    gpu: GpuWatch | None = None
    """The agent's GPU during the turns; None if it uses none of this machine."""
    completion: str = "`turngap run --resume RUN` places its missing calls"
    """What to do about an unfinished run."""
    faults: tuple[str, ...] = ()
    """Errors of the instrument itself, one line each."""
    stopped_early: str = ""
    """Where the run stopped because its verdict was decided: by what, after how many turns."""
    content: ContentSample | None = None
    """The sample of replies whose clauses were compared with what was heard; None if no turn has content by spans."""
    recorded: str = ""
    """Of turns from recordings, how firm the ends of speech are: no instrument placed a call, so none is checked."""
    ends_known: bool = True
    """False where ends of speech were found by level: what comes before such an end is no false cut-off for certain."""
    loaded: bool = False
    """The calls came by a plan, to try how many the agent holds: what drifts or comes in runs is the load's doing."""


def instrument_checks(scored: Sequence[TurnRecord], evidence: Evidence, *, budgeted: bool) -> list[Check]:
    """Return the checks without which there is no result at all."""
    checks = [Check(name="harness", ok=False, text=fault) for fault in evidence.faults]
    usable = sum(turn.outcome is not Outcome.INVALID for turn in scored)
    each = "the 1 turn was" if len(scored) == 1 else f"all {len(scored)} turns were"
    spoilt = f"{each} spoilt because the instrument was late: run nothing else on this machine"
    trouble = spoilt if scored else "no turn was scored; run it again"
    text = f"{usable} of {plural(len(scored), 'scored turn')} can be judged"
    checks.append(Check(name="samples", ok=usable > 0, text=text if usable else trouble))
    missing = 0 if evidence.stopped_early else evidence.planned_turns - len(scored)
    whole = evidence.complete and missing <= 0
    lacks = f"needs {plural(missing, 'more turn')}" if missing > 0 else "did not come to its end"
    remedy = f"the run {lacks}: {evidence.completion}"
    text = evidence.stopped_early or "every planned turn was placed"
    checks.append(Check(name="complete", ok=whole, text=text if whole else remedy))
    under_load = f"under this load ({plural(evidence.sentinel_samples, 'sample')})"
    if budgeted and evidence.own_openings:
        checks.append(Check(name="openings", ok=None, text=OWN_OPENINGS, warning=True))
    if evidence.recorded:
        checks.append(Check(name="ends of speech", ok=None, text=evidence.recorded))
    else:
        checks.append(_check_bias("calibration", evidence.calibration_bias_ms, "before the run", budgeted))
        checks.append(_check_bias("sentinel", evidence.sentinel_bias_ms, under_load, budgeted))
    if evidence.sentinel_over_share is not None:
        checks.append(_check_spread(evidence, evidence.sentinel_over_share, budgeted))
    if evidence.prefix_flattered is None and evidence.prefix_cached:
        checks.append(Check(name="prefix cache", ok=None, text="not known: the engine does not report it"))
    elif evidence.prefix_flattered == 0:
        checks.append(Check(name="prefix cache", ok=True, text="it used no other call's work for any turn"))
    elif evidence.prefix_flattered:
        turns = plural(evidence.prefix_flattered, "turn")
        text = f"the prefix cache served {turns} with more than the system prompt and their own"
        checks.append(Check(name="prefix cache", ok=False, text=f"{text} call's history: restart the language model"))
    checks += gpu.gpu_checks(evidence.gpu) if evidence.gpu is not None else []
    watched = evidence.sentinel_watched
    if watched is not None:
        text = f"the sentinel measured during {watched:.0%} of the turns; answers not found: {evidence.sentinel_missed}"
        watched_enough = watched >= MIN_WATCHED and not evidence.sentinel_missed
        trouble = f"{text}; {MIN_WATCHED:.0%} and none are needed: run it again, in one piece"
        if not budgeted and len(scored) < MIN_WATCHED_TURNS and not watched_enough and not evidence.sentinel_missed:
            text = f"{text}; not judged with fewer than {MIN_WATCHED_TURNS} turns"
            checks.append(Check(name="sentinel's watch", ok=None, text=text))
        else:
            checks.append(_check("sentinel's watch", watched_enough, text, trouble, budgeted))
    return checks


def _check_bias(name: str, bias_ms: float | None, when: str, budgeted: bool) -> Check:
    if bias_ms is None:
        return _check(name, False, "", f"the instrument's own error ({name}) was not measured", budgeted)
    ok = math.isfinite(bias_ms) and abs(bias_ms) <= MAX_INSTRUMENT_BIAS_MS
    advice = "" if ok else f", over {MAX_INSTRUMENT_BIAS_MS:g} ms: run nothing else on this machine"
    return Check(name=name, ok=ok, text=f"the instrument's own error was {bias_ms:+.2f} ms {when}{advice}")


def _check_spread(evidence: Evidence, share: float, budgeted: bool) -> Check:
    """Judge how many of the sentinel's answers were off, not their median alone: half of them may be 80 ms late."""
    p99 = "" if evidence.sentinel_p99_ms is None else f" (99th percentile {evidence.sentinel_p99_ms:.1f} ms)"
    text = (
        f"{share:.1%} of {plural(evidence.sentinel_samples, 'sentinel answer')} were off by more than "
        f"{MAX_INSTRUMENT_BIAS_MS:g} ms{p99}"
    )
    if evidence.sentinel_samples < MIN_SENTINEL_SAMPLES:
        return Check(name="sentinel's spread", ok=None, text=text)
    trouble = f"{text}, over {MAX_SENTINEL_OVER:.0%}: run nothing else on this machine"
    return _check("sentinel's spread", share <= MAX_SENTINEL_OVER, text, trouble, budgeted)


def bound_checks(
    scored: Sequence[TurnRecord], evidence: Evidence, *, budgeted: bool, over: Sequence[bool] = ()
) -> list[Check]:
    """Return the checks that a bound depends on; without a budget a failed one is stated and decides nothing.

    `over`: whether each valid turn that needs an answer is over a limit, in the order of the run.
    """
    n = len(scored)
    floor = stats.n_needed(0)
    most = max(n, evidence.planned_turns) if evidence.stopped_early else n
    repeats = n - len({turn.utterance_id for turn in scored})
    shared = n - len({turn.call for turn in scored})
    invalid = sum(turn.outcome is Outcome.INVALID for turn in scored)
    was = "was" if invalid == 1 else "were"
    gaps_ms = [turn.turn_gap_ms for turn in scored if turn.outcome is not Outcome.INVALID]
    drift = stats.measure_drift(gaps_ms, alpha=dependence.LEVEL, least=LEAST_CHANGE)
    steady = budgeted and not evidence.loaded
    return [
        _check(
            "enough turns",
            most >= floor,
            f"{plural(most, 'turn')}{' planned' if most > n else ''}, at least {floor} are needed for a bound on p95",
            f"{plural(floor - n, 'more turn is', 'more turns are')} needed for a bound on p95 ({floor} in all)",
            budgeted,
            warns=False,
        ),
        _check(
            "distinct utterances",
            repeats == 0,
            "no utterance was said twice",
            f"{plural(repeats, 'turn repeats', 'turns repeat')} an utterance: "
            f"needs {plural(repeats, 'more distinct utterance')}",
            budgeted,
            warns=False,
        ),
        _check(
            "independent calls",
            shared == 0,
            "one scored turn a call",
            f"{plural(shared, 'turn shares', 'turns share')} a call with another: "
            + ("a bound needs recordings with one turn each" if evidence.recorded else SINGLE_TURNS),
            budgeted,
            warns=False,
        ),
        _check(
            "lateness",
            invalid <= MAX_INVALID_SHARE * n,
            f"{invalid} of {plural(n, 'turn')} {was} spoilt because the instrument was late",
            f"{invalid} of {plural(n, 'turn')} {was} spoilt because the instrument was late, "
            f"over {MAX_INVALID_SHARE:.0%}: run nothing else on this machine",
            budgeted,
        ),
        Check(name="drift", ok=None, text="too few answered turns to tell")
        if drift is None
        else _check(
            "drift",
            not drift.drifting,
            f"the gap moved by {drift.change_ms:+.0f} ms over the run (p = {drift.p_value:.2f})",
            f"the gap drifted by {drift.change_ms:+.0f} ms over the run (p = {drift.p_value:.3f}): "
            "warm up longer, or look for heat, leaks and growing caches",
            steady,
        ),
        *independence_checks(gaps_ms, over, budgeted=steady),
        Check(name="foreign load", ok=None, text="not measured")
        if evidence.foreign_cpu_share is None
        else _check(
            "foreign load",
            evidence.foreign_cpu_share <= MAX_FOREIGN_CPU,
            f"other processes used {evidence.foreign_cpu_share:.0%} of the machine's CPU time",
            f"other processes used {evidence.foreign_cpu_share:.0%} of the machine's CPU time, "
            f"over {MAX_FOREIGN_CPU:.0%}: stop them",
            budgeted,
        ),
        Check(name="stolen time", ok=None, text="not measured")
        if evidence.stolen_cpu_share is None
        else _check(
            "stolen time",
            evidence.stolen_cpu_share <= MAX_STOLEN_CPU,
            f"the machine's host gave {evidence.stolen_cpu_share:.1%} of its CPU time to others",
            f"the machine's host gave {evidence.stolen_cpu_share:.1%} of its CPU time to others, over "
            f"{MAX_STOLEN_CPU:.0%}: it may be the cause of late frames; use a machine of your own",
            budgeted=False,
        ),
        Check(name="spans", ok=None, text="the agent sends none: there are no stages")
        if evidence.lost_spans is None
        else _check(
            "spans",
            evidence.lost_spans == 0,
            "every answered turn has its stages",
            f"{evidence.lost_spans} answered turns have incomplete stages",
            budgeted=False,
        ),
    ]


def independence_checks(gaps_ms: stats.Values, over: Sequence[bool], *, budgeted: bool) -> list[Check]:
    """Return whether the turns may be counted as independent, from their gaps and misses in the order of the run.

    What is significant but less than `LEAST_CHANGE` of the median gap, or than the instrument's own error may be,
    changes no verdict and is stated only.
    """
    known = [gap for gap in gaps_ms if gap is not None]
    median_ms = stats.percentile(known, 0.5) or 0.0
    negligible_ms = max(LEAST_CHANGE * median_ms, MAX_INSTRUMENT_BIAS_MS)
    runs, alike = dependence.measure_runs(over), dependence.measure_autocorrelation(gaps_ms)
    stretch = dependence.find_stretch(gaps_ms)
    few = "too few turns to tell"
    text = f"{runs.misses} of {plural(runs.turns, 'turn')} over a limit, at most {runs.longest} in a row"
    remedy = "they are not independent: look for what slows or breaks several calls in a row"
    checks = [
        _check(
            "runs of misses",
            runs.p_value >= dependence.LEVEL,
            f"{text} (p = {runs.p_value:.2f})",
            f"{text} (p = {runs.p_value:.4f}): {remedy}",
            budgeted,
        )
    ]
    if alike is None:
        checks.append(Check(name="autocorrelation", ok=None, text=few))
    else:
        spread_ms = (stats.percentile(known, 0.95) or 0.0) - median_ms
        text = f"a gap's correlation with the next is {alike.value:+.2f} ({alike.low:+.2f} to {alike.high:+.2f})"
        trouble = f"{text}, p = {alike.p_value:.4f}: {remedy}"
        independent = alike.p_value >= dependence.LEVEL or spread_ms <= negligible_ms
        checks.append(_check("autocorrelation", independent, text, trouble, budgeted))
    if stretch is None:
        return [*checks, Check(name="stretches", ok=None, text=few)]
    where = f"{stretch.length} turns from the {ordinal(stretch.first + 1)}"
    text = f"the {where} differ most from the rest, by {stretch.change_ms:+.0f} ms"
    trouble = f"{text} (p = {stretch.p_value:.4f}): look for what else the machine did then"
    same = stretch.p_value >= dependence.LEVEL or abs(stretch.change_ms) <= negligible_ms
    return [*checks, _check("stretches", same, f"{text} (p = {stretch.p_value:.2f})", trouble, budgeted)]


def _check(name: str, ok: bool, text: str, trouble: str, budgeted: bool, *, warns: bool = True) -> Check:
    if ok:
        return Check(name=name, ok=True, text=text)
    return Check(name=name, ok=False if budgeted else None, text=trouble, warning=warns and not budgeted)
