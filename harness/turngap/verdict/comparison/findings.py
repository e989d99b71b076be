"""The findings of a comparison: what changed in one measure, what that amounts to in all, and the sentence. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from turngap.model.plural import plural

ALPHA = 0.01
"""Of all findings "worse" of a comparison together, and of all findings "better"."""
MINUS = "\N{MINUS SIGN}"


class Change(StrEnum):
    """What a comparison finds, in one measure or in all."""

    SAME = "same"
    FASTER = "faster"
    SLOWER = "slower"
    BETTER = "better"
    WORSE = "worse"
    AMBIGUOUS = "ambiguous"
    TOO_FEW = "too few"

    @property
    def is_worse(self) -> bool:
        """Whether it is a regression: slower, in centre or tail, or worse in outcomes or words."""
        return self in (Change.SLOWER, Change.WORSE)

    @property
    def is_better(self) -> bool:
        """Whether it is an improvement."""
        return self in (Change.FASTER, Change.BETTER)


@dataclass(frozen=True, slots=True)
class MedianChange:
    """Head against base: p-values of "slower" and "faster" by more than the tolerance, and the size of the change."""

    change: Change
    p_slower: float
    p_faster: float
    median_change_ms: float | None
    """Of pairs the median of their differences, else the difference of the medians; None if a median has no answer."""
    low_ms: float | None
    """Its 95 % interval; an end is None where unanswered turns leave it open."""
    high_ms: float | None


@dataclass(frozen=True, slots=True)
class MeasureChange:
    """Head against base in one measure. Latencies are in ms; shares and word error rates are from 0 to 1."""

    name: str
    """As in JSON, such as `turn_gap_p95_ms` or `missed_share`."""
    label: str
    """As in sentences and tables, such as `p95` or `missed`."""
    kind: Literal["centre", "tail", "share", "words"]
    paired: bool
    n_head: int
    n_base: int
    head: float | None
    """The figure of each run; None for a latency that falls among unanswered turns."""
    base: float | None
    difference: float | None
    """Of the centre of pairs the median of their differences, else head - base; None if one has none."""
    low: float | None
    """Its 95 % interval; an end is None where the turns leave it open."""
    high: float | None
    tolerance: float
    """The largest change that counts as none."""
    p_worse: float
    """Adjusted for the number of measures (Holm, Tarone)."""
    p_better: float
    change: Change

    def to_json(self) -> dict[str, Any]:
        """Return the measure as `turngap compare --json` prints it."""
        return asdict(self)

    @property
    def is_latency(self) -> bool:
        """Whether it is a time, in ms."""
        return self.kind in ("centre", "tail")

    @property
    def is_within_tolerance(self) -> bool:
        """Whether its whole interval lies inside the tolerance."""
        return is_within(self.low, self.high, self.tolerance)

    @property
    def turns(self) -> str:
        """`12 pairs`, or the turns on either side."""
        return plural(self.n_head, "pair") if self.paired else f"{self.n_head}, {self.n_base}"

    def format_figure(self, figure: float | None) -> str:
        """Return a run's figure: `531`, `2.1 %`, or `none` for a latency among unanswered turns."""
        if figure is None:
            return "none"
        return f"{figure:,.0f}" if self.is_latency else f"{100 * figure:.1f} %"

    def format_change(self, figure: float | None) -> str:
        """Return a change with its sign: `+180`, or `-2.1` percentage points; `-` for none."""
        if figure is None:
            return "-"
        return _signed(figure) if self.is_latency else _signed(100 * figure, 1)

    def format_tolerance(self) -> str:
        """Return `± 23`, in ms or in percentage points."""
        return f"± {self.tolerance:.0f}" if self.is_latency else f"± {100 * self.tolerance:g}"

    @property
    def interval(self) -> str:
        """`+180 to +320`, `at least +180`, or why there is none."""
        if self.low is not None and self.high is not None:
            return f"{self.format_change(self.low)} to {self.format_change(self.high)}"
        if self.low is not None:
            return f"at least {self.format_change(self.low)}"
        if self.high is not None:
            return f"at most {self.format_change(self.high)}"
        return "too few turns" if self.change is Change.TOO_FEW else "open"

    @property
    def sentence(self) -> str:
        """The change in words, such as `p95 531 to 795 ms (+180 to +320)`, with arrows for `to`."""
        unit = " ms" if self.is_latency else ""
        tail = "" if self.is_latency else " points"
        interval = f" ({self.interval}{tail})" if (self.low, self.high) != (None, None) else ""
        head = "no answer" if self.head is None else f"{self.format_figure(self.head)}{unit}"
        return f"{self.label} {self.format_figure(self.base)} → {head}{interval}"


def decide(
    measure: MeasureChange, p_worse: float, p_better: float, least_change: float, is_same: bool, alpha: float = ALPHA
) -> MeasureChange:
    """Return the measure with those p-values and its finding; a shown change counts if it is over `least_change` too.

    A latency that one of the runs does not have changed by more than anything.
    """
    moved = measure.difference
    if moved is None:
        moved = {(True, False): math.inf, (False, True): -math.inf}.get(
            (measure.head is None, measure.base is None), 0.0
        )
    worse, better = (Change.SLOWER, Change.FASTER) if measure.is_latency else (Change.WORSE, Change.BETTER)
    if p_worse < alpha and moved > least_change:
        change = worse
    elif p_better < alpha and moved < -least_change:
        change = better
    elif is_same:
        change = Change.SAME
    else:
        change = Change.AMBIGUOUS
    return replace(measure, p_worse=p_worse, p_better=p_better, change=change)


def is_within(low: float | None, high: float | None, tolerance: float) -> bool:
    """Return whether the whole interval lies inside the tolerance; an open one never does."""
    return low is not None and high is not None and max(-low, high) <= tolerance


def combine(measures: Sequence[MeasureChange]) -> Change:
    """Return the finding of the whole comparison.

    Any worse measure decides. An improvement needs shares and words that are shown not to be worse by more than their
    tolerance: an agent that leaves turns unanswered is not a faster one. "Same" needs all measures.
    """
    changes = [measure.change for measure in measures]
    for change in (Change.SLOWER, Change.WORSE, Change.FASTER, Change.BETTER):
        if change in changes:
            return Change.AMBIGUOUS if change.is_better and _undecided_quality(measures) else change
    if not changes or set(changes) == {Change.TOO_FEW}:
        return Change.TOO_FEW
    return Change.SAME if set(changes) == {Change.SAME} else Change.AMBIGUOUS


def describe(measures: Sequence[MeasureChange]) -> str:
    """Return the finding of the whole comparison in one sentence that names the measures behind it."""
    change = combine(measures)
    if change is Change.TOO_FEW:
        return "too few turns to find a difference"
    if change is Change.SAME:
        limits = dict.fromkeys(_describe_tolerance(measure) for measure in measures)
        return f"same: every measure is inside its tolerance ({', '.join(limits)})"
    found = _describe_found(measures)
    if change is Change.AMBIGUOUS and found:
        texts = [f"{one.label} {_describe_range(one)}" for one in _undecided_quality(measures)]
        return f"ambiguous: {found}, but a worse share is not excluded: {'; '.join(texts[:3])}"
    if change is Change.AMBIGUOUS:
        open_ = [f"{one.label} {_describe_range(one)}" for one in measures if one.change is Change.AMBIGUOUS]
        few = [one.label for one in measures if one.change is Change.TOO_FEW]
        texts = [*open_[:3], *([f"too few turns for {', '.join(few[:3])}"] if few else [])]
        return f"ambiguous: no change is shown, but not excluded either: {'; '.join(texts)}"
    ambiguous = [one.label for one in measures if one.change is Change.AMBIGUOUS]
    return f"{found}; ambiguous: {', '.join(ambiguous)}" if ambiguous else found


def _describe_found(measures: Sequence[MeasureChange]) -> str:
    """Return the measures with a finding, worse ones first: `slower: median ...; worse: missed ...`."""
    found = [one for one in measures if one.change.is_worse] + [one for one in measures if one.change.is_better]
    found = [one for one in found if not _is_explained(one, found)]
    texts, lead = [], ""
    for measure in found:
        own = f"{measure.change.value} in the tail" if measure.kind == "tail" else measure.change.value
        texts.append(measure.sentence if own == lead else f"{own}: {measure.sentence}")
        lead = own
    return "; ".join(texts)


def _undecided_quality(measures: Sequence[MeasureChange]) -> list[MeasureChange]:
    """Return the shares and words that may be worse by more than their tolerance."""
    return [one for one in measures if not one.is_latency and not _is_no_worse(one)]


def _is_no_worse(measure: MeasureChange) -> bool:
    """Return whether the measure is shown to be the same, better, or (a share) worse by its tolerance at most."""
    bounded = measure.kind == "share" and measure.high is not None and measure.high <= measure.tolerance
    return measure.change is Change.SAME or measure.change.is_better or bounded


def _is_explained(measure: MeasureChange, found: Sequence[MeasureChange]) -> bool:
    """Return whether others say the same more exactly: slow turns that are unanswered ones, outcomes in all."""
    alike = [one.name for one in found if one.change is measure.change and one.kind == "share"]
    if measure.name == "slow_share":
        return "bad_share" in alike
    return measure.name == "bad_share" and bool({*alike} - {"bad_share", "slow_share"})


def _describe_tolerance(measure: MeasureChange) -> str:
    if measure.is_latency:
        return f"{measure.label} ± {measure.tolerance:.0f} ms"
    name = "words" if measure.kind == "words" else "shares"
    return f"{name} ± {100 * measure.tolerance:g} points"


def _describe_range(measure: MeasureChange) -> str:
    unit = "ms" if measure.is_latency else "points"
    tolerance = f"{measure.tolerance:.0f}" if measure.is_latency else f"{100 * measure.tolerance:g}"
    if (measure.low, measure.high) == (None, None):
        return "is not bounded by these turns"
    if measure.kind == "words" and measure.is_within_tolerance:
        return "hangs on too few utterances"
    return f"{measure.interval} {unit} (tolerance {tolerance})"


def _signed(value: float, digits: int = 0) -> str:
    text = f"{abs(value):,.{digits}f}"
    return text if not text.strip("0.") else f"{MINUS if value < 0 else '+'}{text}"
