"""A scored turn, one line of `turns.jsonl`: outcome, gap, stages and critical path.

Times are milliseconds unless a name says otherwise. A gap that does not exist is null, never infinity.
"""

from __future__ import annotations

from enum import StrEnum

from turngap_agent.documents import FrozenModel
from turngap_agent.tracing import Activity, Stage

from turngap.model.finding import Finding
from turngap.model.health import TurnHealth
from turngap.model.landing import Landing
from turngap.model.live import LegTimes
from turngap.model.recorded import RecordedTurn
from turngap.model.records import LabelSource
from turngap.scenario import PAUSE_MS, Expectation


class Outcome(StrEnum):
    """The outcome of a turn. All but ANSWERED, HELD, LIMITED and INVALID count as over budget."""

    ANSWERED = "answered"
    MISSED = "missed"
    """There was no answer within the turn's time."""
    CUT_OFF = "cut_off"
    """The agent spoke before the caller had finished."""
    TRUNCATED = "truncated"
    """The agent answered without the utterance's last word."""
    WRONG = "wrong"
    """Word error rate over the turn's limit."""
    BROKEN = "broken"
    """The reply had underruns of more than 100 ms in all."""
    FAILED = "failed"
    """The call broke: refused, closed, died."""
    HELD = "held"
    """The agent was right to stay silent, or to continue after a backchannel: as good as ANSWERED."""
    LIMITED = "limited"
    """The agent spoke at the limit of a turn's length to a caller who did not stop, as it should."""
    INTRUDED = "intruded"
    """The agent spoke where it had to stay silent."""
    STOPPED = "stopped"
    """A backchannel or a cough stopped the agent's sentence, or made it lose or repeat part of it."""
    TALKED_OVER = "talked_over"
    """The agent did not yield to a barge-in."""
    INVALID = "invalid"
    """The instrument's own lateness was over 5 ms: the turn says nothing about the agent."""


GOOD = frozenset({Outcome.ANSWERED, Outcome.HELD, Outcome.LIMITED})
"""The outcomes of an agent that makes no mistake."""


class StageTime(FrozenModel):
    """One stage in one turn."""

    duration_ms: float
    exposed_ms: float
    """The stage's time on the critical path."""
    slack_ms: float
    """How much longer it could have taken without delaying the reply: 0 on the path."""
    hidden_ms: float | None = None
    """Its time before the reply that nobody waited for: in parallel with other work, or while the caller spoke."""
    uncertainty_ms: float = 0.0
    """By how much its times may be off either way, because one of its ends is on another host's clock."""


class PathStep(FrozenModel):
    """One piece of the critical path, which has no holes from t0 to t1; times relative to t0."""

    stage: Stage
    start_ms: float
    end_ms: float


class Bar(FrozenModel):
    """One activity as it ran, for the waterfall; times relative to t0."""

    activity: Activity
    start_ms: float
    end_ms: float


class TurnRecord(FrozenModel):
    """One turn, scored."""

    call: int
    call_sid: str
    turn: int
    """Its position in the call, from 0."""
    utterance_id: str
    stratum: str
    expectation: Expectation = Expectation.RESPOND
    """What the agent had to do; the outcome is judged by it."""
    condition: str = ""
    """The noise on the line, such as "pink 10 dB"; "" for none."""
    network: str = ""
    """The simulated network of its call; "" for none or for `clean`."""
    twin: str = ""
    """The id of the turn with the same words and no noise."""
    pause_ms: float = 0.0
    """The longest pause inside the utterance; from 200 ms the turn counts as a pause turn."""
    over_agent: bool = False
    """The caller was to speak while the agent spoke, and did."""
    warm_up: bool
    """A warm-up turn: recorded, never scored."""
    cold: bool
    """The first turn after the agent's start."""
    scored: bool
    replaced: bool = False
    """Set aside because the instrument was late around the end of speech, and called again: not scored any more."""
    overshoot: bool = False
    """Its call was under way when the turns before it had decided the verdict: kept, not scored."""
    lead_in: bool = False
    """A turn that only leads to its call's scored one: recorded, never scored."""
    outcome: Outcome
    detail: str = ""
    """The reason in one line, where the outcome is not ANSWERED."""
    synthetic_caller: bool

    t0_ns: int
    t1_ns: int | None
    boot_id: str = ""
    """The boot of the host whose monotonic clock these times are on; "" if not known."""
    turn_gap_ms: float | None
    """t1 - t0 at the media edge."""
    turn_gap_frame_ms: float | None
    """The other convention: t1 - the send time of the frame that contains t0."""
    perceived_gap_ms: float | None
    """Turn gap + the profile's network model."""
    first_byte_ms: float | None
    """t0 → the first media message received, silent or not."""

    stages: dict[Stage, StageTime] | None
    """None where the agent sent no complete spans for the attempt that was heard."""
    stages_note: str = ""
    """Why stages are missing or incomplete."""
    path: tuple[PathStep, ...] = ()
    bars: tuple[Bar, ...] = ()
    attempt: int | None = None
    attempts: int | None = None
    """Number of attempts at this turn, cancelled ones included."""

    reference: str | None
    transcript: str | None
    wer: float | None
    word_errors: int | None
    words: int | None
    reply: str | None
    first_clause: str | None

    underruns_ms: tuple[float, ...] = ()
    """The length of each underrun inside the reply."""
    underruns_at_ms: tuple[float, ...] = ()
    """When each began, from t0; empty in runs that did not record it."""
    barge_in_stop_ms: float | None = None
    """Barge-in: the caller's first audible sample → the agent's last one before it yields."""
    stale_ms: float | None = None
    """Audible sound of the old reply after the agent had yielded."""
    talk_over_ms: float | None = None
    """How long caller and agent were audible at once."""
    went_on_ms: float | None = None
    """Backchannel: its end → the agent's sentence is audible again; 0 if the sentence never paused."""
    lost_ms: float | None = None
    """Backchannel: audible sound of the sentence that was cut and never played."""
    repeated_ms: float | None = None
    """Backchannel: audible sound of the sentence that was played twice."""
    prefix_beyond_tokens: int | None = None
    """Prompt tokens that the prefix cache served beyond the system prompt and the call's own history."""
    compute_ms: float | None = None
    """How long the agent's engines worked for the attempt that was heard."""
    wasted_ms: float | None = None
    """Wasted work: how long the engines worked for attempts of this turn that were discarded."""
    substance_gap_ms: float | None = None
    """t0 → the first audible sample of the reply's first content; null without content, or where it is not known."""
    perceived_substance_ms: float | None = None
    """The substance gap with the telephone network, as the perceived gap."""
    substance_from: str = ""
    """What says where the content starts: `spans`, `transcript`, or "" where it is not known."""
    contentless: str = ""
    """What was heard before the first content, such as `um,` or `a sound without words`; "" for nothing."""
    substance_note: str = ""
    """Why the substance gap is null, or how it was found where the spans left it open."""
    substance_text: str = ""
    """The clause that the spans say has the first content; "" without spans."""
    silence_ms: float | None = None
    """Sum of the silences over 200 ms inside the reply."""
    clause_gap_ms: float | None = None
    """The longest silence inside the reply before the caller spoke again: no gap between two clauses is longer."""
    reply_ms: float | None = None
    """First to last audible sample of the reply."""
    lateness_send_ms: float
    lateness_recv_ms: float
    """The instrument's own largest lateness, from 500 ms before t0 to t1."""
    lateness_around_t0_ms: float | None = None
    """The larger of both from 500 ms before t0 to 500 ms after it, however soon or late the answer came: by it alone
    turns are called again. None in runs that did not record it."""
    label_low_ms: float
    """How much later the end of speech may lie: by a label with lower thresholds, or as a person states ..."""
    label_high_ms: float
    """... and how much earlier (negative)."""
    label_source: LabelSource = LabelSource.THRESHOLD
    """What the end of speech was found by; older runs have no other."""
    audible_dbfs: float = -45.0
    """The level over which the agent's sound is its speech: higher than -45 dBFS where it has a background."""
    background_dbfs: float | None = None
    """The level of what the agent sends while nobody speaks; null if that is silent."""
    findings: tuple[Finding, ...] = ()
    """What was wrong with the agent's audio and messages in the whole call: on the call's first turn."""
    audio: str | None = None
    """The call's stereo WAV file in the run folder, if it was kept."""
    audio_offset_ms: float | None = None
    """The position of t0 in that file."""
    landing: Landing | None = None
    """How the agent landed that began too soon; only of cut-offs, and null in runs that did not record it."""
    live: LegTimes | None = None
    """The time on each leg of a live call; the perceived gap is then measured mouth to ear, not modelled."""
    start_delay_ms: float | None = None
    """Of a call that was planned for a moment: how much later its stream was open; on its first turn that is scored (of
    a call without one, its first). Limits on gaps count it: a server that stalls cannot hide it."""
    health: TurnHealth | None = None
    """What held the agent's process up; null for an agent at a URL, and in runs that did not record it."""
    recorded: RecordedTurn | None = None
    """Of a turn from a recording: where it is there, and how firm its gap is."""

    @property
    def is_good(self) -> bool:
        """Whether the agent did what the scenario expects of it."""
        return self.outcome in GOOD

    @property
    def is_valid(self) -> bool:
        """Whether figures may use it: scored, and not disturbed by the instrument."""
        return self.scored and self.outcome is not Outcome.INVALID

    @property
    def is_barge_in(self) -> bool:
        """Whether the caller interrupted a speaking agent."""
        return self.expectation is Expectation.STOP and self.over_agent

    @property
    def is_backchannel(self) -> bool:
        """Whether a backchannel or a cough met a speaking agent."""
        return self.expectation is Expectation.IGNORE and self.over_agent

    @property
    def is_pause_turn(self) -> bool:
        """Whether it needs an answer and its utterance has a pause of 200 ms or more."""
        return self.expectation.needs_answer and self.pause_ms >= PAUSE_MS
