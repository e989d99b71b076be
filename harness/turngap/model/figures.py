"""What is measured of a run's turns, their words and the instrument: the parts of `run.json` that hold figures."""

from __future__ import annotations

from typing import Any

from turngap_agent.documents import FrozenModel


class LatencyFigures(FrozenModel):
    """A latency over the scored turns, in ms; a turn not answered as it should be counts as later than any other.

    A percentile that falls among unanswered turns, and a bound that n does not carry, is null.
    """

    n: int
    p50: float | None
    p95: float | None
    p95_upper: float | None
    """Exact one-sided 95 % upper confidence bound on p95; null below 59 turns."""
    p99: float | None = None
    """Only from 299 turns on."""
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


class Rate(FrozenModel):
    """A share of turns with its exact one-sided 95 % upper bound (Clopper-Pearson)."""

    events: int
    n: int
    rate: float | None
    upper: float | None


class WordErrors(FrozenModel):
    """Word errors over reference words, of the turns that have a transcript, with a 95 % upper bound."""

    turns: int
    errors: int
    words: int
    wer: float
    upper: float
    """Utterances resampled: the errors of one utterance are not independent."""


class WastedWork(FrozenModel):
    """Work of the agent's engines for attempts that were thrown away, over the turns that tell."""

    turns: int
    compute_ms: float
    """A turn's work for what was heard, mean."""
    wasted_ms: float
    """A turn's work for what was thrown away, mean."""
    share: float | None
    """Thrown away over all; null where no work was told."""
    upper: float | None
    """95 % upper bound on the share, turns resampled."""


class Twins(FrozenModel):
    """Noisy turns beside the turns that say the same without noise, where both have a transcript."""

    pairs: int
    noisy: float
    clean: float


class Conversation(FrozenModel):
    """What stands beside the gap: how the agent takes and leaves its turns."""

    rates: dict[str, Rate]
    """By the name of the metric: `pause_cut_off_rate`, `missed_rate`, `intruded_rate`, `false_stop_rate`, ..."""
    barge_in_stop_ms: LatencyFigures
    """Of barge-ins; one that was talked over counts as later than any other."""
    stale_ms: LatencyFigures
    talk_over_ms: LatencyFigures
    went_on_ms: LatencyFigures
    """Of backchannels; a sentence that did not go on counts as later than any other."""
    clause_gap_ms: LatencyFigures | None = None
    """The longest silence inside each reply; null in runs that did not record it."""
    wer: dict[str, WordErrors]
    """`clean`, `noisy` (all conditions together), and each condition by its name."""
    twins: dict[str, Twins]
    """By condition, and `noisy` for all."""
    wasted: WastedWork | None
    wasted_pauses: WastedWork | None
    """Of pause turns."""


class Lateness(FrozenModel):
    """How late our own caller was, ms, over all frames."""

    p50_ms: float
    p99_ms: float
    max_ms: float


class Instrument(FrozenModel):
    """What the instrument knows of its own error."""

    send: Lateness | None
    receive: Lateness | None
    label_low_ms: float | None
    """Median move of the end-of-speech labels when both thresholds move by -5 dB ..."""
    label_high_ms: float | None
    """... and +5 dB."""
    foreign_cpu_share: float | None = None
    """Share of the machine's CPU time that other processes used, and ..."""
    stolen_cpu_share: float | None = None
    """... that its host gave to other machines while this one had work (steal): the callers are late then."""
    calibration: dict[str, Any] | None = None
    sentinel: dict[str, Any] | None = None


class Source(FrozenModel):
    """Where caller audio came from."""

    source: str
    utterances: int


class CorpusFigures(FrozenModel):
    """What was said."""

    distinct_utterances: int
    synthetic: int
    strata: dict[str, int]
    sources: tuple[Source, ...]


class CostFigures(FrozenModel):
    """What turns and calls cost on a machine of that price; how it is computed: `turngap.verdict.summary`."""

    an_hour: float
    currency: str
    as_of: str
    source: str
    simultaneous_calls: int
    call_minutes: float
    """Of the calls with scored turns; of a resumed run, those since then."""
    answered_turns: int
    """Of the same calls."""
    call_minute: float
    answered_turn: float | None
