"""The figures in `run.json`: latencies, rates, words, corpus, cost, and the instrument's own error."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, SerializerFunctionWrapHandler, model_serializer
from turngap_agent.documents import FrozenModel


class LatencyFigures(FrozenModel):
    """A latency over the valid turns, in ms; a turn that was not answered as it should counts as later than any other.

    Null: a percentile that falls among unanswered turns, and a bound for which n is too small.
    """

    n: int
    p50: float | None
    p95: float | None
    p95_upper: float | None
    """Exact one-sided 95 % upper confidence bound on p95; null below 59 turns."""
    p99: float | None = None
    """Only for 299 turns or more."""
    max: float | None


class StageFigures(FrozenModel):
    """One stage over the answered turns that have spans."""

    n: int
    p50_ms: float
    p95_ms: float
    exposed_p50_ms: float
    exposed_p95_ms: float
    slack_p50_ms: float
    hidden_p50_ms: float | None = None
    """Time of the stage that nobody waited for; null in runs that did not record it."""
    uncertainty_ms: float = 0.0
    """By how much its times may be off either way, at the median: one of its ends is on another host's clock."""

    @property
    def is_resolved(self) -> bool:
        """Whether its median is larger than its uncertainty."""
        return self.p50_ms > self.uncertainty_ms or not self.uncertainty_ms

    @model_serializer(mode="wrap")
    def _leave_out_certainty(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write figures of one host as runs always did."""
        data: dict[str, Any] = serialize(self)
        if not data.get("uncertainty_ms"):
            data.pop("uncertainty_ms", None)
        return data


class Rate(FrozenModel):
    """A share of turns with its exact one-sided 95 % upper bound (Clopper-Pearson)."""

    events: int
    n: int
    rate: float | None
    upper: float | None


class GroupFigures(FrozenModel):
    """The valid turns that need an answer of one stratum, or of one depth in the call: how fast, and how patient."""

    turn_gap_ms: LatencyFigures
    """As everywhere: a turn that was not answered as it should counts as later than any other."""
    answered: int
    answered_p50_ms: float | None
    """Over the answered turns alone: the speed, whatever the patience."""
    answered_p95_ms: float | None
    cut_off_rate: Rate


class WordErrors(FrozenModel):
    """Word errors over reference words, of the turns that need an answer, with a 95 % upper bound."""

    turns: int
    errors: int
    words: int
    wer: float
    upper: float
    """By utterance (`turngap.verdict.word_errors.wer_upper`): the errors of one utterance are not independent."""
    lower: float | None = None
    """The lower bound at the same confidence (`wer_lower`); null in older runs."""
    without_transcript: int = 0
    """Turns among them that have no transcript; all their words count as missed."""
    runaway: Rate | None = None
    """Turns with more errors than reference words, such as a transcript that repeats itself; null in older runs."""


class WastedWork(FrozenModel):
    """Wasted work of the agent's engines, over the turns that report it."""

    turns: int
    compute_ms: float
    """Mean work per turn for the attempt that was heard."""
    wasted_ms: float
    """Mean work per turn for discarded attempts."""
    share: float | None
    """Wasted over all work; null if no work was reported."""
    upper: float | None
    """95 % upper bound on the share (bootstrap over turns)."""


class Twins(FrozenModel):
    """Word error rates of noisy turns and of their clean twins, where both have a transcript."""

    pairs: int
    noisy: float
    clean: float


class ConversationFigures(FrozenModel):
    """How the agent takes its turns: cut-offs, barge-ins, backchannels, noise, wasted work."""

    rates: dict[str, Rate]
    """By the name of the metric: `pause_cut_off_rate`, `missed_rate`, `intruded_rate`, `false_stop_rate`, ..."""
    barge_in_stop_ms: LatencyFigures
    """Of barge-ins; one that was talked over counts as later than any other."""
    stale_ms: LatencyFigures
    talk_over_ms: LatencyFigures
    went_on_ms: LatencyFigures
    """Of backchannels; a sentence that did not continue counts as later than any other."""
    clause_gap_ms: LatencyFigures | None = None
    """The longest silence inside each reply; null in runs that did not record it."""
    wer: dict[str, WordErrors]
    """By condition: `clean`, `noisy` (all noises together), and each noise by its name."""
    twins: dict[str, Twins]
    """By condition, and `noisy` for all."""
    wasted: WastedWork | None
    wasted_pauses: WastedWork | None
    """Of pause turns."""


class Lateness(FrozenModel):
    """The lateness of the instrument's own caller over all frames, ms."""

    p50_ms: float
    p99_ms: float
    max_ms: float


class _Extensible(FrozenModel):
    """Keeps keys that it does not know, so that nothing of another version's record is lost."""

    model_config = ConfigDict(frozen=True, extra="allow")


class ErrorFigures(_Extensible):
    """The instrument's timing error over several answers of a reference agent, ms; null if no answer was found."""

    n: int
    bias_median_ms: float | None = None
    sd_ms: float | None = None
    max_abs_error_ms: float | None = None


class DelayErrorFigures(_Extensible):
    """The timing error for one known delay."""

    delay_ms: float
    n: int
    missed: int = 0
    """Answers that the instrument did not find."""
    bias_median_ms: float | None = None
    sd_ms: float | None = None
    max_abs_error_ms: float | None = None
    frame_convention: ErrorFigures


class CalibrationFigures(_Extensible):
    """The calibration before the run."""

    valid: bool
    delays: tuple[DelayErrorFigures, ...] = ()
    idle: dict[str, float | bool | None] | None = None
    """How idle the machine was: load per core, timer lateness, stolen time."""


class SentinelFigures(_Extensible):
    """The timing error of the sentinel call during the run."""

    n: int
    """Its answers inside the turns' windows."""
    n_all: int = 0
    windows: int = 0
    watched: int = 0
    """Windows of turns, and those in which the sentinel measured something."""
    missed: int = 0
    """Answers inside the windows that the instrument did not find."""
    bias_median_ms: float | None = None
    sd_ms: float | None = None
    p95_abs_ms: float | None = None
    max_abs_error_ms: float | None = None
    p99_abs_ms: float | None = None
    """The 99th percentile of the absolute errors; null in runs that did not record it, as is ..."""
    over_limit_share: float | None = None
    """... the share of its answers whose error is over 5 ms (`calibrate.LARGEST_MS`)."""

    @model_serializer(mode="wrap")
    def _leave_out_absent_figures(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write an older run as it was: without the keys."""
        data: dict[str, Any] = serialize(self)
        return {key: value for key, value in data.items() if value is not None or key not in _LATER_FIGURES}


_LATER_FIGURES = frozenset({"p99_abs_ms", "over_limit_share"})


class Instrument(FrozenModel):
    """The instrument's own error."""

    send: Lateness | None
    receive: Lateness | None
    label_low_ms: float | None
    """Median move of the end-of-speech labels when both thresholds move by -5 dB ..."""
    label_high_ms: float | None
    """... and +5 dB."""
    foreign_cpu_share: float | None = None
    """Share of the machine's CPU time that other processes used, and ..."""
    stolen_cpu_share: float | None = None
    """... that its host gave to other machines while this one had work (steal)."""
    calibration: CalibrationFigures | None = None
    sentinel: SentinelFigures | None = None


class Source(FrozenModel):
    """One source of caller audio."""

    source: str
    utterances: int


class CorpusFigures(FrozenModel):
    """What the callers said."""

    distinct_utterances: int
    synthetic: int
    strata: dict[str, int]
    sources: tuple[Source, ...]


class CostFigures(FrozenModel):
    """What turns and calls cost on a machine of that price; computed by `turngap.verdict.summary.compute_cost`."""

    an_hour: float
    currency: str
    as_of: str
    source: str
    simultaneous_calls: int
    call_minutes: float
    """Length of the calls with scored turns; of a resumed run, only of those after it resumed."""
    answered_turns: int
    """In the same calls."""
    call_minute: float
    answered_turn: float | None
    call: float | None = None
    """One call with scored turns, in the mean; None in runs of earlier versions."""
