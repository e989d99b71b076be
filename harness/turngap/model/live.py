"""What a live call adds to a turn and to a run: the times of each leg, of an echo and of Twilio's recording, in ms."""

from __future__ import annotations

from turngap_agent.documents import FrozenModel


class LegTimes(FrozenModel):
    """One turn on the legs of a live call (docs/live.md); null where an end of it was not found."""

    uplink_ms: float | None
    """t0 → t1: the caller's last sample, given to Twilio until it is on the agent's leg."""
    server_gap_ms: float | None
    """t1 → t2: until the agent's first audible sample is given to Twilio; the turn gap at the agent's media edge."""
    downlink_ms: float | None
    """t2 → t3: until that sample is on the caller's leg."""
    total_ms: float | None
    """t0 → t3: mouth to ear."""
    witness_ms: float | None = None
    """The same, as Twilio's own dual-channel recording has it."""


class RecordingFigures(FrozenModel):
    """The recording beside the live figure."""

    n: int
    """Turns found in both."""
    median_difference_ms: float | None
    """Recording less live."""
    largest_difference_ms: float | None
    caller_channel: int | None
    """Found by correlation; from 0."""


class LiveSummary(FrozenModel):
    """A live run: medians over its answered turns."""

    calls: int
    alone: bool
    """Measured from the caller's leg alone."""
    fake: bool
    """Against the fake Twilio: no telephone rang."""
    trial: bool | None
    """A trial account; null where that is not known."""
    turns: int
    uplink_ms: float | None
    server_gap_ms: float | None
    downlink_ms: float | None
    total_ms: float | None
    jitter_ms: float | None = None
    """How much later than the fastest frame a frame arrived from Twilio: 95th percentile, the worst leg's."""
    floor: LegTimes | None = None
    """An echo on the same loop: what is left without an agent. Never subtracted."""
    witness: RecordingFigures | None = None
    worst_case_usd: float | None = None
    remarks: tuple[str, ...] = ()
    """What these figures are not."""
