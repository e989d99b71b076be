"""What a recording of a finished call adds to a turn and to a run: ends that were found, and who had the floor."""

from __future__ import annotations

from turngap_agent.documents import FrozenModel

FROM_RECORDINGS = "From recordings: no stages; ends of speech are found, not known."
ENDS_BY_HAND = "From recordings: no stages; ends of speech are those of the label files."


class RecordedTurn(FrozenModel):
    """Where a turn is in its recording, and how firm its gap is."""

    file: str
    start_s: float
    """The caller's first sample of the turn, from the start of the recording."""
    end_s: float
    """t0: the caller's last sample of speech."""
    answer_s: float | None
    """t1: the agent's first sample of speech after it; null without an answer."""
    gap_low_ms: float | None
    """The gap with every threshold moved by 5 dB so that it is shortest ..."""
    gap_high_ms: float | None
    """... and longest; null without a gap, and both are the gap where ends are known by hand."""
    remark: str = ""
    """What the recording leaves open about the turn."""


class TalkEntry(FrozenModel):
    """Talk of one speaker, without pauses of a second, and what it did to the floor (docs/finished-calls.md)."""

    side: str
    """`caller` or `agent`."""
    start_s: float
    end_s: float
    kind: str
    """`opens`, `continues`, `gap`, `yield`, `hold`, `backchannel` or `undecided`."""
    gap_ms: float | None = None
    """From the other's last sound to its first; under 0 in overlap."""
    holder_yields: bool | None = None
    """Whether the other, who had the floor and talked, stopped first; null where nobody talked."""


class Stretches(FrozenModel):
    """Speech of one side between silences of 200 ms: (start, end) in seconds."""

    caller: tuple[tuple[float, float], ...]
    agent: tuple[tuple[float, float], ...]


class CrossTalk(FrozenModel):
    """One side's sound on the other's channel."""

    heard_on: str
    """The channel that it leaks to: `caller` or `agent`."""
    attenuation_db: float
    delay_ms: float


class DeadAir(FrozenModel):
    """A silence of both."""

    from_s: float
    length_s: float
    after: str
    """Who had spoken last: `caller` or `agent`."""


class RecordedCall(FrozenModel):
    """One recording."""

    call: int
    file: str
    format: str
    rate_hz: int
    length_s: float
    caller_on: str
    """`left`, `right`, or the name of the caller's file."""
    side_from: str
    """What says so: `option`, `labels`, `files`, or `assumed`."""
    ends_from: str
    """`found`, or `labels`."""
    scored: bool
    remarks: tuple[str, ...] = ()
    """Why it is not scored, or what to ask about it."""
    greeted_by: str = ""
    """Who spoke first; "" where that began before the recording, or nobody spoke."""
    agent_first_s: float | None = None
    """When the agent spoke first."""
    caller_floor_dbfs: float | None = None
    agent_floor_dbfs: float | None = None
    cross_talk: tuple[CrossTalk, ...] = ()
    dead_air: tuple[DeadAir, ...] = ()
    talk_over_s: float = 0.0
    """Both audible at once."""
    agent_yields: int = 0
    agent_holds: int = 0
    """How often the agent, while it talked, stopped first when the caller began, and how often the caller did; also in
    its backchannels."""
    caller_yields: int = 0
    caller_holds: int = 0
    caller_backchannels: int = 0
    agent_backchannels: int = 0
    turns: int = 0
    talk: tuple[TalkEntry, ...] = ()
    """Empty in run.json: `recordings.jsonl` has it."""
    speech: Stretches | None = None


class RecordingSummary(FrozenModel):
    """A run from recordings."""

    sentence: str
    """How its ends of speech are known."""
    calls: tuple[RecordedCall, ...]
    gap_uncertainty_ms: float | None = None
    """The median over turns with a gap of half of what lies between the shortest and the longest."""
    notes: tuple[str, ...] = ()
