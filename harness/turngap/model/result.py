"""The result of a run, `run.json`. Everything else (report, JUnit, CSV, comparison) renders it.

The run folder, `results/<run-id>/`: `run.json` (this), `turns.jsonl` (one `TurnRecord` a line, flushed as each ends),
`spans.jsonl`, `sentinel.jsonl`, `gpu.csv`, `process.csv`, `agent.log`, and stereo WAV files of the calls worth hearing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from pydantic import AliasChoices, Field, SerializerFunctionWrapHandler, model_serializer
from turngap_agent.documents import FrozenModel
from turngap_agent.profile import random_weights_note
from turngap_agent.tracing import Stage

from turngap.model.agent_figures import AgentFigures, GpuFigures, GpuWatch
from turngap.model.budget import Budget
from turngap.model.callers import CallerFigures
from turngap.model.figures import (
    ConversationFigures,
    CorpusFigures,
    CostFigures,
    GroupFigures,
    Instrument,
    LatencyFigures,
    Rate,
    StageFigures,
)
from turngap.model.finding import RunFinding
from turngap.model.health import EnergyFigures, HealthFigures, TraceFile
from turngap.model.intervals import IntervalFigures
from turngap.model.landing import LandingFigures
from turngap.model.live import LiveSummary
from turngap.model.plural import ordinal
from turngap.model.recorded import RecordingSummary
from turngap.model.span_mapping import SpanMapping
from turngap.model.stopping import StoppingPlan
from turngap.model.telephone import TelephoneFigures
from turngap.model.turn import Outcome
from turngap.network import NetworkProfile

SCHEMA_VERSION = 1
DEFINITIONS = 2
"""The version of the definitions of t0 and t1 (docs/definitions.md#versions). 1: both were rounded to a 10 ms frame, t0
up and t1 down. 2: both are exact to the sample."""
WEIGHTLESS = "Weightless: timing and memory only; FAIL is conclusive, PASS is necessary, not sufficient."
"""Stated wherever a result on random weights is shown, unless an engine has its own note."""


def caveat(profile: Mapping[str, Any]) -> str | None:
    """What a reader must know of a result with that `profile`, as data; None where its weights are not random."""
    if not profile.get("weightless"):
        return None
    note = random_weights_note(profile)
    return f"Weightless: timing and memory only, {note}." if note else WEIGHTLESS


class Verdict(StrEnum):
    """The verdict of a run. Exit codes: PASS and MEASURED 0, FAIL and NOT SHOWN 1, INVALID 2."""

    PASS = "PASS"
    """All limits were shown to be met."""
    FAIL = "FAIL"
    """A limit was shown to be missed."""
    NOT_SHOWN = "NOT SHOWN"
    """Neither: the turns do not suffice for either statement."""
    INVALID = "INVALID"
    MEASURED = "MEASURED"
    """The run had no budget."""

    @property
    def exit_code(self) -> int:
        """The exit code of the process."""
        return _EXIT_CODES[self]


_EXIT_CODES = {Verdict.PASS: 0, Verdict.MEASURED: 0, Verdict.FAIL: 1, Verdict.NOT_SHOWN: 1, Verdict.INVALID: 2}


class Check(FrozenModel):
    """One validity check."""

    name: str
    ok: bool | None
    """None: not checked, for the reason in `text`."""
    text: str
    warning: bool = False
    """The check failed, but decides nothing because no budget is judged."""


class ResumeState(FrozenModel):
    """What resuming a run needs in addition to the other fields of its record: how its agent was started."""

    inject: tuple[str, ...] = ()
    """Delays put into the agent's stages, `STAGE=MS` each."""
    agent_nice: int = 0
    """Niceness of the agent."""
    live: bool = False
    """True for live calls: such a run can't be resumed."""
    all_turns: bool = False
    """All planned turns are called, even once the verdict is decided."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, Any]) -> Self:
        """The state of a run that was recorded before the state had a field of its own."""
        return cls(
            inject=tuple(environment.get("inject", ())),
            agent_nice=environment.get("agent_nice", 0),
            live=bool(environment.get("live", False)),
        )


class LedgerSummary(FrozenModel):
    """Which attempt on this build of the agent a run with a budget is, by the ledger beside its folder."""

    entry: str = Field(validation_alias=AliasChoices("entry", "attempt_id"))
    """The id of its entry."""
    fingerprint: str
    """Identifies the build of the agent: docs/definitions.md says what it is made of."""
    number: int = 0
    """1 for the first run with a budget on this build, this one included; 0 while the run has not ended."""
    counts: dict[str, int] = Field(default_factory=dict)
    """How those runs ended: by verdict, and `aborted`."""
    with_this_budget: int | None = None
    """How many of them have the same limits; null in runs that counted no others."""
    pass_probability: float | None = None
    """Of an agent exactly at the budget: that one or more of so many runs end with PASS."""

    @property
    def sentence(self) -> str:
        """Which attempt it is, how all on this build ended, and what that does to the risk of a false PASS."""
        tries = sum(self.counts.values())
        listed = ", ".join(f"{count} {status}" for status, count in self.counts.items())
        text = f"{ordinal(self.number)} attempt on this build ({listed})"
        if self.with_this_budget is not None and self.with_this_budget < tries:
            text += f", {self.with_this_budget} of them with this budget"
        if tries < 2 or self.pass_probability is None:
            return f"{text}."
        return (
            f"{text}; an agent exactly at the budget passes 1 of {tries} attempts with probability "
            f"{100 * self.pass_probability:.0f} %."
        )


class RunRecord(FrozenModel):
    """`run.json`."""

    schema_version: int = SCHEMA_VERSION
    definitions: int = 1
    """The version of the definitions by which it was measured (`DEFINITIONS`); absent in runs of version 1."""
    run_id: str
    started: str
    """ISO 8601, UTC."""
    duration_s: float
    complete: bool
    """False while the run is in progress, and for a run that was killed or interrupted."""
    stopped_early: str = ""
    """Where the verdict was decided before all planned turns: by what, after how many. Such a run is complete."""
    verdict: Verdict
    sentence: str
    """The verdict in one sentence."""
    reasons: tuple[str, ...]
    validity: tuple[Check, ...]

    profile: str
    profile_data: dict[str, Any]
    network_ms: float
    """The median of what the telephone network adds to a turn gap."""
    telephone: TelephoneFigures | None = None
    """Its distribution; null in live runs, and in older runs, which added `network_ms` to every turn."""
    scenario: str
    scenario_path: str
    scenario_sha256: str
    seed: int
    planned_turns: int
    simultaneous_calls: int
    networks: dict[str, NetworkProfile] = Field(default_factory=dict)
    """The simulated networks by name; {}: there was none between caller and agent."""
    spans: SpanMapping | None = None
    """What the spans of another framework's agent were taken to mean; null for our own, and in older runs."""
    budget: Budget | None = None
    stopping_plan: StoppingPlan | None = None
    """When its verdict is decided; null without a budget, and in runs that were judged once, after all turns."""
    ledger: LedgerSummary | None = Field(None, validation_alias=AliasChoices("ledger", "attempt"))
    """Null without a budget, and in runs that were entered in no ledger."""

    n_turns: int
    """Number of scored turns."""
    outcomes: dict[Outcome, int]
    turn_gap_ms: LatencyFigures
    turn_gap_frame_ms: LatencyFigures
    perceived_gap_ms: LatencyFigures
    first_byte_ms: LatencyFigures
    substance_gap_ms: LatencyFigures | None = None
    """Null in runs that did not record it, and where it is not known for some answered turn."""
    perceived_substance_ms: LatencyFigures | None = None
    contentless: tuple[str, ...] = ()
    """The openings that the run took for no content (the scenario's `contentless`)."""
    stages: dict[Stage, StageFigures]
    wer: float | None
    """Word errors over reference words, over all valid turns; words of a turn without a transcript count as missed."""
    wer_upper: float | None = None
    """Its 95 % upper bound, by utterance."""
    cut_off_rate: Rate
    underrun_rate: Rate
    wasted_attempts: int | None
    """Number of cancelled attempts of valid turns."""
    intervals: IntervalFigures | None = None
    """Shares and latencies with their intervals; null in runs that did not record them, and without turns."""
    strata: dict[str, GroupFigures] = Field(default_factory=dict)
    """By stratum, if there are several; {} in runs that did not record it."""
    depths: dict[str, GroupFigures] = Field(default_factory=dict)
    """`first turn` of a call and `later turns`, if there are both; {} in runs that did not record it."""
    conversation: ConversationFigures | None = None
    """Null in runs that did not record it."""
    landings: LandingFigures | None = None
    """How cut-offs landed, beside their rate; null without any, and in runs that did not record it."""
    cost: CostFigures | None = None
    """Null if the profile has no price."""

    findings: tuple[RunFinding, ...] = ()
    """What was wrong with what came back, one entry a kind; () in runs that did not record it."""
    corpus: CorpusFigures
    instrument: Instrument
    agent: AgentFigures
    gpus: tuple[GpuFigures, ...] | None
    """None: the machine has no GPU."""
    gpu_watch: GpuWatch | None = None
    """Null if the agent uses no GPU of this machine, and in runs that did not record it."""
    health: HealthFigures | None = None
    """What held the agent's process up; null for an agent at a URL, and in runs that did not record it."""
    energy: EnergyFigures | None = None
    """Null for an agent at a URL, without calls, and in runs that did not record it."""
    traces: tuple[TraceFile, ...] = ()
    """Traces of the slowest turns; () unless they were asked for."""
    callers: tuple[CallerFigures, ...] = ()
    """Where several callers placed the calls, each; () for one, and in runs that did not record it."""
    environment: dict[str, Any]
    notes: tuple[str, ...] = ()
    live: LiveSummary | None = None
    """A live call's legs; such a run is diagnostic and never judged."""
    recording: RecordingSummary | None = None
    """The recordings that the run was made from: it has no stages, and no agent was called."""
    resume: ResumeState | None = None
    """Absent in older runs, whose `environment` has it: see `resume_state`."""

    @property
    def resume_state(self) -> ResumeState:
        """What resuming the run needs, of older runs too."""
        return self.resume if self.resume is not None else ResumeState.from_environment(self.environment)

    @model_serializer(mode="wrap")
    def _leave_out_absent_state(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write an older run as it was: without the keys."""
        data: dict[str, Any] = serialize(self)
        if data.get("resume", ...) is None:
            del data["resume"]
        if data.get("definitions") == 1:
            del data["definitions"]
        return data
