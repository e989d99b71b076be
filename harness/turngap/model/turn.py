"""A scored turn, one line of `turns.jsonl`: outcome, gap, stages, path and what stood beside them.

Milliseconds unless a name says otherwise. A gap that does not exist is null with an outcome, never infinity.
"""

from __future__ import annotations

from enum import StrEnum

from turngap_agent.documents import FrozenModel
from turngap_agent.tracing import Activity, Stage

from turngap.model.live import LegTimes
from turngap.scenario import Expectation


class Outcome(StrEnum):
    """What became of a turn. Everything but ANSWERED, HELD, LIMITED and INVALID counts as over budget."""

    ANSWERED = "answered"
    MISSED = "missed"
    """No answer within the turn's time."""
    CUT_OFF = "cut_off"
    """The agent spoke before the caller was done."""
    TRUNCATED = "truncated"
    """The agent answered without the utterance's last word."""
    WRONG = "wrong"
    """Word error rate over the turn's limit."""
    BROKEN = "broken"
    """Playout ran dry for more than 100 ms inside the reply."""
    FAILED = "failed"
    """The call broke: refused, closed, died."""
    HELD = "held"
    """Rightly silent where nothing was said, or rightly gone on after a backchannel: as good as ANSWERED."""
    LIMITED = "limited"
    """A caller who did not stop was spoken to at the limit of a turn's length, as it should be."""
    INTRUDED = "intruded"
    """Answered where nothing was to be said."""
    STOPPED = "stopped"
    """A backchannel or a cough ended the agent's sentence, or made it lose or repeat some of it."""
    TALKED_OVER = "talked_over"
    """The agent did not yield to a barge-in."""
    INVALID = "invalid"
    """The instrument's own send or receive lateness was over 5 ms: says nothing of the agent."""


GOOD = frozenset({Outcome.ANSWERED, Outcome.HELD, Outcome.LIMITED})
"""The outcomes of turns that went as they should."""


class StageTime(FrozenModel):
    """One stage in one turn."""

    duration_ms: float
    exposed_ms: float
    """Path time: what of the stage lies on the critical path."""
    slack_ms: float
    """How much longer it could have taken without moving the reply: 0 on the path."""
    hidden_ms: float | None = None
    """What of it ran before the reply without being waited for: beside other work, or while the caller spoke."""


class PathStep(FrozenModel):
    """One piece of the critical path, from t0 to t1 without holes; times relative to t0."""

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
    """Its place in the call, from 0."""
    utterance_id: str
    stratum: str
    expectation: Expectation = Expectation.RESPOND
    """What the agent was to do; outcomes are judged by it."""
    condition: str = ""
    """Noise on the line, such as "pink 10 dB"; "" is clean."""
    network: str = ""
    """The simulated network it was made under; "" is none, or `clean`."""
    twin: str = ""
    """The turn that says the same without the noise."""
    pause_ms: float = 0.0
    """The longest pause inside the utterance; from 200 ms on it is a pause turn."""
    over_agent: bool = False
    """Spoken over the agent, on purpose."""
    warm_up: bool
    """Declared warm-up: kept, never scored."""
    cold: bool
    """The first turn after the agent's start."""
    scored: bool
    outcome: Outcome
    detail: str = ""
    """Why, where the outcome is not ANSWERED: one line."""
    synthetic_caller: bool

    t0_ns: int
    t1_ns: int | None
    boot_id: str = ""
    """The boot on whose monotonic clock these were read; "" is not known."""
    turn_gap_ms: float | None
    """t1 - t0 at the media edge, t0 being the sample's own time."""
    turn_gap_frame_ms: float | None
    """The other convention: from the send time of the frame that holds t0."""
    perceived_gap_ms: float | None
    """Turn gap + the profile's network model."""
    first_byte_ms: float | None
    """t0 → first media message received, silent or not."""

    stages: dict[Stage, StageTime] | None
    """None where the agent sent no spans for the attempt that was heard."""
    stages_note: str = ""
    """Why stages are missing or incomplete."""
    path: tuple[PathStep, ...] = ()
    bars: tuple[Bar, ...] = ()
    attempt: int | None = None
    attempts: int | None = None
    """Attempts of this turn, the cancelled ones included."""

    reference: str | None
    transcript: str | None
    wer: float | None
    word_errors: int | None
    words: int | None
    reply: str | None
    first_clause: str | None

    underruns_ms: tuple[float, ...] = ()
    """Each time playout ran dry inside the reply."""
    barge_in_stop_ms: float | None = None
    """Barge-in: the caller's first audible sample → the agent's last one before it yields."""
    stale_ms: float | None = None
    """Audible sound of the old reply after the agent had yielded."""
    talk_over_ms: float | None = None
    """Caller and agent audible at once, where the caller spoke over the agent."""
    went_on_ms: float | None = None
    """Backchannel: its end → the agent's sentence is audible again; 0 when it never paused."""
    lost_ms: float | None = None
    """Backchannel: audible sound of the sentence that was cut and never came again."""
    repeated_ms: float | None = None
    """Backchannel: audible sound of the sentence that was played twice."""
    prefix_beyond_tokens: int | None = None
    """Prompt tokens that the prefix cache served beyond the system prompt and the call's own history."""
    compute_ms: float | None = None
    """Work of the agent's engines for the attempt that was heard."""
    wasted_ms: float | None = None
    """Work for attempts of this turn that were thrown away."""
    silence_ms: float | None = None
    """Silence inside the reply, over 200 ms each, together."""
    clause_gap_ms: float | None = None
    """The longest silence inside the reply until the caller spoke again: no gap between two clauses is longer."""
    reply_ms: float | None = None
    """First to last audible sample of the reply."""
    lateness_send_ms: float
    lateness_recv_ms: float
    """Our own worst, between 500 ms before t0 and t1."""
    label_low_ms: float
    label_high_ms: float
    audio: str | None = None
    """The call's stereo WAV in the run folder, where it was kept."""
    audio_offset_ms: float | None = None
    """Where t0 is in it."""
    live: LegTimes | None = None
    """The time on each leg, in a live call; the perceived gap is then measured, mouth to ear, and not modelled."""
