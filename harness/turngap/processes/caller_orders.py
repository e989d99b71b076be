"""What is said between the instrument and its caller processes: calls to be placed, records, what they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from turngap.caller.dialects.registry import TWILIO
from turngap.model.figures import Lateness
from turngap.model.records import CallRecord
from turngap.processes.packed_record import PackedRecord
from turngap.scenario import PlannedCall


@dataclass(frozen=True, slots=True)
class ArrangedCall:
    """A call, and when it is placed; the fields are those of `caller.call.place_call`."""

    planned: PlannedCall
    url: str
    at_ns: int = 0
    """After the common start."""
    seed: int = 0
    call_sid: str | None = None
    custom_parameters: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    dialect: str = TWILIO
    auth_token: str = ""
    """With it the upgrade is signed. Caller processes have none in their environment."""


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A call that has ended."""

    record: CallRecord
    place: int
    """Its number in the list of calls, from 0."""
    process: int
    due_ns: int
    """When it was to be placed, and ..."""
    placed_ns: int
    """... when it was: the caller's own lateness with the whole call is between them."""


@dataclass(frozen=True, slots=True)
class CallerLoad:
    """What the calls took of one process."""

    process: int
    pid: int
    priority: str
    """As `caller.priority.describe_priority` does."""
    calls: int
    most_at_once: int
    wall_s: float
    """From the common start to the end of its last call."""
    cpu_share: float
    """CPU time over `wall_s`; a caller spins before its deadlines, so it is near 1 at any number of calls."""
    busy_share: float
    """The same without the spinning: what the calls needed."""
    placed_late_ms: float
    """The most that a call was placed late."""
    send_late: Lateness | None
    """Of all frames; None without any."""
    recv_late: Lateness | None


@dataclass(frozen=True, slots=True)
class ServedCalls:
    """All calls of one order, in its order, and what they took."""

    calls: tuple[EndedCall, ...]
    started_ns: int
    """The common start."""
    loads: tuple[CallerLoad, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """A process's calls, and the common start."""

    calls: Sequence[tuple[int, ArrangedCall]]
    """Each with its place in the whole list."""
    started_ns: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Hang up all calls, and place no more; the records of those under way are `INTERRUPTED`."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One call's record, as a process sends it."""

    packed: PackedRecord
    place: int
    placed_ns: int


@dataclass(frozen=True, slots=True)
class Done:
    """All calls of an order have ended."""

    priority: str
    most_at_once: int
    wall_ns: int
    cpu_ns: int
    spun_ns: int
