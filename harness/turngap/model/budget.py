"""A budget: the limits a run is judged against, and the plan it is compared with.

A *limit* decides the verdict. A *hypothesis* is one line of a plan: how long a stage was expected to take. It is shown
beside the measurement and decides nothing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.profile.sections import NetworkModel
from turngap_agent.tracing import Stage


class Metric(StrEnum):
    """What a budget can limit, besides `stages.<name>`, the exposed time of a stage."""

    TURN_GAP = "turn_gap_ms"
    PERCEIVED_GAP = "perceived_gap_ms"
    SUBSTANCE_GAP = "substance_gap_ms"
    PERCEIVED_SUBSTANCE = "perceived_substance_ms"
    FIRST_BYTE = "first_byte_ms"
    BARGE_IN_STOP = "barge_in_stop_ms"
    STALE = "stale_ms"
    TALK_OVER = "talk_over_ms"
    WENT_ON = "went_on_ms"
    WER = "wer"
    WER_CLEAN = "wer_clean"
    WER_NOISY = "wer_noisy"
    CUT_OFF = "cut_off_rate"
    PAUSE_CUT_OFF = "pause_cut_off_rate"
    MISSED = "missed_rate"
    TRUNCATED = "truncated_rate"
    UNDERRUN = "underrun_rate"
    TALKED_OVER = "talked_over_rate"
    FALSE_STOP = "false_stop_rate"
    INTRUDED = "intruded_rate"
    WASTED_SHARE = "wasted_share"
    VRAM = "vram_peak_mib"


LATENCIES = (
    Metric.TURN_GAP,
    Metric.PERCEIVED_GAP,
    Metric.SUBSTANCE_GAP,
    Metric.PERCEIVED_SUBSTANCE,
    Metric.FIRST_BYTE,
    Metric.BARGE_IN_STOP,
    Metric.STALE,
    Metric.TALK_OVER,
    Metric.WENT_ON,
)
WORD_METRICS = frozenset({Metric.WER, Metric.WER_CLEAN, Metric.WER_NOISY})
"""The metrics of word errors."""
PERCEIVED = frozenset({Metric.PERCEIVED_GAP, Metric.PERCEIVED_SUBSTANCE})
"""The metrics that include the telephone network."""
SUBSTANCE = (Metric.SUBSTANCE_GAP, Metric.PERCEIVED_SUBSTANCE)
"""The metrics that need to know what was said: from the agent's spans, or from a transcript of its replies."""


def name_metric(metric: str) -> str:
    """Return a metric's name as a sentence has it: `turn gap` for `turn_gap_ms`."""
    return metric.removesuffix("_ms").replace("_", " ")


def _check_metric(metric: str) -> str:
    names = [*Metric, *(f"stages.{stage}" for stage in Stage)]
    if metric not in names:
        near = documents.find_nearest(metric, names, documents.NEAR_KEY)
        hint = f"did you mean `{near}`?" if near is not None else f"there are: {', '.join(names)}"
        raise ValueError(f"no metric {metric!r}; {hint}")
    return metric


_QUANTILE = 0.95


class Limit(FrozenModel):
    """One limit. Latencies have a `quantile`; rates, word errors and wasted work are judged on their upper bound."""

    metric: str
    at_most: float = Field(ge=0, allow_inf_nan=False, strict=True)
    quantile: float = Field(_QUANTILE, gt=0, lt=1)
    """For latencies: this share of all callers' turns must be within `at_most`."""
    confidence: float = Field(0.95, gt=0.5, lt=1)

    _check = field_validator("metric")(_check_metric)

    @model_validator(mode="after")
    def _decidable(self) -> Limit:
        faults: dict[str, str] = {}
        if self.is_share and self.at_most >= 1:
            percent = f" ({self.at_most:g} % is {self.at_most / 100:g})" if 1 < self.at_most <= 100 else ""
            faults["at_most"] = (
                f"{self.metric} is a share, under 1; {self.at_most:g} is none: give 0 < at_most < 1{percent}"
            )
        elif self.is_share and self.at_most == 0:
            faults["at_most"] = "a share of 0 can't be shown by any number of turns; give 0 < at_most < 1"
        elif self.metric == Metric.VRAM and self.at_most == 0:
            faults["at_most"] = "no agent on a GPU uses 0 MiB of its memory; give at_most > 0"
        if not self.is_latency and self.quantile != _QUANTILE:  # the default is in the budgets of saved runs
            faults["quantile"] = f"only times have a `quantile`, {self.metric} has none; remove it"
        if faults:
            raise documents.located_error("; ".join(faults.values()), (next(iter(faults)),))
        return self

    @property
    def stage(self) -> Stage | None:
        """The stage whose exposed time is limited, or None."""
        kind, _, name = self.metric.partition(".")
        return Stage(name) if kind == "stages" else None

    @property
    def is_latency(self) -> bool:
        """Whether each turn (or each turn of one kind) has a value, and a quantile of the values is judged."""
        return self.stage is not None or self.metric in LATENCIES

    @property
    def is_rate(self) -> bool:
        """Whether turns are counted, and the bound on their share is judged."""
        return self.metric.endswith("_rate")

    @property
    def miss_rate(self) -> float:
        """The share of turns that the limit allows to be over it; of limits on latencies and rates only."""
        return self.at_most if self.is_rate else round(1 - self.quantile, 12)

    @property
    def level(self) -> float:
        """The most that the probability of an error may be: 1 less the confidence."""
        return round(1 - self.confidence, 9)

    @property
    def is_share(self) -> bool:
        """Whether it is a share: a rate, word errors or wasted work."""
        return self.is_rate or self.metric in (Metric.WER, Metric.WER_CLEAN, Metric.WER_NOISY, Metric.WASTED_SHARE)


class Hypothesis(FrozenModel):
    """One line of a plan: `name` was expected to take between `low_ms` and `high_ms`; 0 and 0 set no target."""

    name: str
    low_ms: float = Field(ge=0)
    high_ms: float = Field(ge=0)
    stages: tuple[Stage, ...] = ()
    """The stages whose exposed times are added up in each turn; empty for the network model and for headroom."""
    kind: Literal["stages", "network", "headroom"] = "stages"

    @property
    def has_target(self) -> bool:
        """Whether the plan states a time for it."""
        return self.high_ms > 0

    @model_validator(mode="after")
    def _consistent(self) -> Hypothesis:
        if self.high_ms < self.low_ms:
            raise ValueError(f"`high_ms` {self.high_ms:g} is under `low_ms` {self.low_ms:g}")
        if (self.kind == "stages") != bool(self.stages):
            raise ValueError("`stages` goes with kind `stages`, and only with it")
        return self


class Budget(FrozenModel):
    """A budget file."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=documents.NAME)
    description: str = ""
    network: NetworkModel | None = None
    """Replaces the profile's network model."""
    limits: Annotated[tuple[Limit, ...], Field(min_length=1)]
    hypotheses: tuple[Hypothesis, ...] = ()
    sequential: bool = True
    """The run stops when its verdict is decided; false: all planned turns are called, and judged once."""
    bursts: int = Field(1, ge=1, le=10)
    """Turns over a limit may come in runs of up to this mean length without more false passes; costs calls."""

    @model_validator(mode="after")
    def _distinct(self) -> Budget:
        keys = [(limit.metric, limit.quantile) for limit in self.limits]
        double = next((key for key in keys if keys.count(key) > 1), None)
        if double is not None:
            raise ValueError(f"`{double[0]}` is limited twice")
        return self
