"""A run's result, `run.json`: the product. Everything else (report, JUnit, CSV, comparison) renders it.

A run's folder, `results/<run-id>/`: `run.json` (this), `turns.jsonl` (one `TurnRecord` a line, flushed as each ends),
`spans.jsonl`, `sentinel.jsonl`, `gpu.csv`, `process.csv`, `agent.log`, and stereo WAV files of the calls worth hearing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.legs import LiveFigures
from harness.turn import Outcome
from pipeline.tracing import Stage

SCHEMA_VERSION = 1
WEIGHTLESS = "Weightless: timing and memory only; FAIL is conclusive, PASS is necessary, not sufficient."
"""What is said wherever a result on random weights is shown ..."""
WEIGHTLESS_BF16 = (
    "Weightless: timing and memory only, of bf16 on torch: neither FAIL nor PASS is conclusive for W4A16 on vLLM."
)
"""... and where the language model is Gemma on torch, which reads 3.8 times the bytes a token."""


def caveat(profile: Mapping[str, Any]) -> str | None:
    """What is to be known of a result with that `profile`, as data; None where its weights are not random."""
    if not profile.get("weightless"):
        return None
    return WEIGHTLESS_BF16 if (profile.get("llm") or {}).get("engine") == "gemma" else WEIGHTLESS


class Verdict(StrEnum):
    """What a run says. PASS and MEASURED exit 0, FAIL 1, INVALID 2."""

    PASS = "PASS"
    FAIL = "FAIL"
    INVALID = "INVALID"
    MEASURED = "MEASURED"
    """No budget was asked for."""

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        return {Verdict.PASS: 0, Verdict.MEASURED: 0, Verdict.FAIL: 1, Verdict.INVALID: 2}[self]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figures(_Model):
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


class StageFigures(_Model):
    """One stage over the answered turns that have spans."""

    n: int
    p50_ms: float
    p95_ms: float
    exposed_p50_ms: float
    exposed_p95_ms: float
    slack_p50_ms: float
    hidden_p50_ms: float | None = None
    """Time of the stage that nobody waited for; null in runs that did not record it."""


class Rate(_Model):
    """A share of turns with its exact one-sided 95 % upper bound (Clopper-Pearson)."""

    events: int
    n: int
    rate: float | None
    upper: float | None


class WordErrors(_Model):
    """Word errors over reference words, of the turns that have a transcript, with a 95 % upper bound."""

    turns: int
    errors: int
    words: int
    wer: float
    upper: float
    """Utterances resampled: the errors of one utterance are not independent."""


class WastedWork(_Model):
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


class Twins(_Model):
    """Noisy turns beside the turns that say the same without noise, where both have a transcript."""

    pairs: int
    noisy: float
    clean: float


class Conversation(_Model):
    """What stands beside the gap: how the agent takes and leaves its turns."""

    rates: dict[str, Rate]
    """By the name of the metric: `pause_cut_off_rate`, `missed_rate`, `intruded_rate`, `false_stop_rate`, ..."""
    barge_in_stop_ms: Figures
    """Of barge-ins; one that was talked over counts as later than any other."""
    stale_ms: Figures
    talk_over_ms: Figures
    went_on_ms: Figures
    """Of backchannels; a sentence that did not go on counts as later than any other."""
    clause_gap_ms: Figures | None = None
    """The longest silence inside each reply; null in runs that did not record it."""
    wer: dict[str, WordErrors]
    """`clean`, `noisy` (all conditions together), and each condition by its name."""
    twins: dict[str, Twins]
    """By condition, and `noisy` for all."""
    wasted: WastedWork | None
    wasted_pauses: WastedWork | None
    """Of pause turns."""


class Check(_Model):
    """One entry of the validity list."""

    name: str
    ok: bool | None
    """None: not checked, and `text` says why."""
    text: str
    warning: bool = False
    """It was checked and is bad, yet decides nothing where no budget is judged."""


class Lateness(_Model):
    """How late our own caller was, ms, over all frames."""

    p50_ms: float
    p99_ms: float
    max_ms: float


class Instrument(_Model):
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


class KvCacheFigures(_Model):
    """Memory for keys and values, as the language model's server counts it."""

    reserved_mib: float
    used_peak_mib: float
    """The most that requests were seen to hold of it at once."""


class AgentGpu(_Model):
    """The GPU that the agent says it uses, and how its processes share it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    uuid: str
    """Of the card, or of the MIG slice."""
    name: str = ""
    mps: bool = False
    """Its processes share the GPU by CUDA's Multi-Process Service; without it they take turns."""
    agent_active_thread_pct: int | None = None
    """Of the GPU's threads that the agent's own process may use under MPS; null: all."""
    llm_active_thread_pct: int | None = None
    external_llm: bool = False
    """Its language model is a server that the agent did not start (`llm.url`); it may be on the same GPU."""


class AgentFigures(_Model):
    """The agent's process; null where it is not ours to look into (`--url`)."""

    url: str
    ready_s: float | None = None
    rss_mib: float | None = None
    """Largest seen."""
    cpu_s: float | None = None
    loop_lag_p99_ms: float | None = None
    models: dict[str, str] = {}
    memory_mib: dict[str, float] = {}
    """By section of the profile, how much more of the GPU was in use once its engine had loaded and warmed up."""
    kv_cache: KvCacheFigures | None = None
    """None where the agent does not tell of one."""
    gpu: AgentGpu | None = None
    """Null where no engine uses one, and where the agent does not say."""


class Source(_Model):
    """Where caller audio came from."""

    source: str
    utterances: int


class CorpusFigures(_Model):
    """What was said."""

    distinct_utterances: int
    synthetic: int
    strata: dict[str, int]
    sources: tuple[Source, ...]


class CostFigures(_Model):
    """What turns and calls cost on a machine of that price; how it is computed: `harness.verdict.cost`."""

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


class GpuFigures(_Model):
    """One GPU over the run."""

    name: str
    total_mib: float
    used_peak_mib: float
    used_before_mib: float
    number: int | None = None
    """In `gpu.csv`; null in runs that did not record it."""


class GpuWatch(_Model):
    """The agent's GPU inside the windows of the scored turns: from 500 ms before the end of speech to the answer."""

    turns: int
    """Scored turns ..."""
    watched_turns: int
    """... of these, those with a sample in their window ..."""
    known_turns: int
    """... and of these, those in which NVML always told which processes are on the GPU."""
    foreign_turns: int
    """Turns beside which another's process was on the GPU."""
    foreign: tuple[str, ...] = ()
    """Those processes, as "PID NAME"."""
    held_back: dict[str, int] = {}
    """By reason (heat, or the power there is), turns in which the card was slower than it is."""
    power_capped_turns: int = 0
    """Turns in which the card was at its own power limit."""
    before_mib: float | None = None
    """In use before the agent started, without what the driver keeps for itself; null where it does not tell."""
    sees_all: bool = False
    """The list of processes is that of the whole machine; false: of a container."""
    external_llm: bool = False
    """One of the processes that are not the run's may be the language model's server at `llm.url`."""


class RunRecord(_Model):
    """`run.json`."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    started: str
    """ISO 8601, UTC."""
    duration_s: float
    complete: bool
    """False while it runs, and for one that was killed or interrupted."""
    verdict: Verdict
    sentence: str
    """The verdict in one plain sentence."""
    reasons: tuple[str, ...]
    validity: tuple[Check, ...]

    profile: str
    profile_data: dict[str, Any]
    network_ms: float
    scenario: str
    scenario_path: str
    scenario_sha256: str
    seed: int
    planned_turns: int
    simultaneous_calls: int
    networks: dict[str, dict[str, Any]] = {}
    """The simulated networks by name, as they were; {}: nothing was put between caller and agent."""
    budget: dict[str, Any] | None = None

    n_turns: int
    """Scored turns."""
    outcomes: dict[Outcome, int]
    turn_gap_ms: Figures
    turn_gap_frame_ms: Figures
    perceived_gap_ms: Figures
    first_byte_ms: Figures
    stages: dict[Stage, StageFigures]
    wer: float | None
    """Word errors over reference words, all scored turns that have a transcript."""
    wer_upper: float | None = None
    """Its 95 % upper bound, utterances resampled."""
    cut_off_rate: Rate
    underrun_rate: Rate
    wasted_attempts: int | None
    """Cancelled attempts of scored turns."""
    conversation: Conversation | None = None
    """Null in runs that did not record it."""
    cost: CostFigures | None = None
    """Null where the profile has no price."""

    corpus: CorpusFigures
    instrument: Instrument
    agent: AgentFigures
    gpus: tuple[GpuFigures, ...] | None
    gpu_watch: GpuWatch | None = None
    """Null where the agent uses no GPU of this machine, and in runs that did not record it."""
    """None: no GPU was seen."""
    environment: dict[str, Any]
    notes: tuple[str, ...] = ()
    live: LiveFigures | None = None
    """A live call's legs; such a run is diagnostic and never judged."""
