"""What was measured at one load, as `capacity.json` has it."""

from __future__ import annotations

from enum import StrEnum

from turngap_agent.documents import FrozenModel

from turngap.model.figures import LatencyFigures, WastedWork
from turngap.model.result import Verdict
from turngap.model.turn import Outcome


class Decision(StrEnum):
    """Whether the budget holds at a load."""

    HOLDS = "holds"
    """Shown: the run passed."""
    DOES_NOT_HOLD = "does not hold"
    """Shown: the run failed."""
    NOT_SHOWN = "not shown"
    """Neither, by the turns that there are."""
    INVALID = "invalid"
    """The instrument was late, or the run did not come to its end: nothing is said about the agent."""
    MEASURED = "measured"
    """There is no budget to be judged."""


class SignKind(StrEnum):
    """What shows that a load is too much, or by what."""

    QUEUE = "queue grows"
    REFUSED = "calls refused"
    CORES = "cores full"
    GPU = "GPU full"
    KV_CACHE = "KV cache full"


class Sign(FrozenModel):
    """A sign of saturation."""

    kind: SignKind
    text: str


class CallerFigures(FrozenModel):
    """Whether the instrument kept up: it must not be what is slow."""

    valid: bool
    reasons: tuple[str, ...] = ()
    """Why it is not, a clause each."""
    send_p99_ms: float | None
    """Lateness of frames as they leave."""
    receive_p99_ms: float | None
    """Longest stall of a caller's event loop during each frame."""
    start_p99_ms: float | None
    """Lateness of our own in beginning to place a call."""
    sentinel_answers: int
    sentinel_p99_ms: float | None
    """The sentinel's absolute error ..."""
    sentinel_over_share: float | None
    """... and the share of its answers that were off by more than 5 ms."""
    processes: int
    """Processes that placed calls."""
    busiest_core_share: float | None
    """CPU time of the busiest of them over the time that the load lasted: 1 is a whole core."""
    cpu_s: float | None = None
    """CPU time of all of them."""


class UnderWay(FrozenModel):
    """Calls under way while scored calls were, bystanders included."""

    mean: float
    peak: int


class PhaseFigures(FrozenModel):
    """One phase of a load shape."""

    name: str
    calls: int
    arrivals_per_s: float | None
    under_way: UnderWay
    gap_ms: LatencyFigures
    refused: int


class Recovery(FrozenModel):
    """How long after a phase the agent answered as before it."""

    after: str
    """The phase."""
    limit_ms: float
    """What counts as before: the slowest answer before the phase, or the budget's limit if that is larger."""
    calls: int
    """So many calls in a row within it are a recovery."""
    seconds: float | None
    """From the phase's end to the planned start of the first of them; null: not while the load lasted."""
    worst_ms: float | None
    """The slowest answer from the phase's beginning on."""


class PointRecord(FrozenModel):
    """A point: one load, one run."""

    name: str
    slug: str
    """The name of its run folder in the capacity folder."""
    calls: int | None
    """The load as calls under way; null where it was given as a rate."""
    rate_per_s: float | None
    """The load as calls a second; null where it was given as calls under way."""
    attempt: int = 1
    """2 where a search tried the load again, because the instrument had been late."""
    call_s: float
    """Planned mean length of a call: by it calls under way and arrivals belong together."""
    decision: Decision
    verdict: Verdict
    sentence: str
    """The run's."""
    n_turns: int
    planned_turns: int
    outcomes: dict[Outcome, int]
    refused: int
    """Calls that the agent did not take, or ended before it had answered once."""
    calls_placed: int
    """Scored calls; with bystanders there were more."""
    gap_ms: LatencyFigures
    """From the planned time: the time of `CapacityRecord.metric` plus how much later than planned its call began."""
    from_t0_ms: LatencyFigures
    """The same from the end of speech alone, as in every run."""
    start_delay_ms: LatencyFigures
    """Of scored calls: from the planned start until the stream was open."""
    first_turn_ms: float | None
    """The first turn after the agent's start, cold, before the load."""
    before_load_ms: LatencyFigures
    """Turns of the calls that are placed before the first scored one, without the first of all."""
    under_way: UnderWay
    arrivals_per_s: float | None
    """Of scored calls, without those that came again after all others."""
    answered_per_s: float | None
    """Turns answered as they should be, a second, by the ends of the same calls."""
    call_length_s: float | None
    """Mean of the scored calls."""
    wasted: WastedWork | None = None
    cost_call: float | None = None
    """In `currency`, with the calls that were under way sharing the machine."""
    currency: str = ""
    energy_call_j: float | None = None
    """Of the GPU and the processor together, where both or one can be read."""
    caller: CallerFigures
    signs: tuple[Sign, ...] = ()
    saturated: bool = False
    """More load makes no sense: see `saturation.is_saturated`."""
    phases: tuple[PhaseFigures, ...] = ()
    """() for a shape with a single one."""
    recovery: Recovery | None = None

    @property
    def load(self) -> float:
        """The load as it was given."""
        return float(self.calls) if self.calls is not None else (self.rate_per_s or 0.0)

    @property
    def is_valid(self) -> bool:
        """Whether its figures say something about the agent."""
        return self.decision is not Decision.INVALID
