"""What a run's driver and its caller processes tell each other: a share of the calls, and what became of each call."""

from __future__ import annotations

from dataclasses import dataclass

from turngap.calibration.calibrate import Calibration
from turngap.corpus.clips import Corpus
from turngap.model.records import CallRecord
from turngap.scenario import PlannedCall
from turngap.session.request import Request
from turngap.session.scoring_process import ScoredCall


@dataclass(frozen=True, slots=True)
class Share:
    """The calls that one caller places, and all that it needs for them."""

    caller: str
    """The caller's name, unique in the run."""
    request: Request
    """The run's plan, without budget and earlier turns: a caller judges nothing."""
    calls: tuple[PlannedCall, ...]
    """Warm-up calls first, then those that are scored."""
    slots: int
    """How many of them at once."""
    corpus: Corpus
    plan_sha256: str
    """Of the plan and its audio as the driver has them."""
    timed: tuple[tuple[PlannedCall, int], ...] = ()
    """Of an open-loop load: every call after the warm-up, bystanders among them, and when it starts, ns after `Go`."""


@dataclass(frozen=True, slots=True)
class Go:
    """To a caller: every caller is ready, place the calls."""


@dataclass(frozen=True, slots=True)
class Enough:
    """To a caller: begin no further call, and finish those under way."""


@dataclass(frozen=True, slots=True)
class Stop:
    """To a caller: hang up; the turns so far are kept."""


@dataclass(frozen=True, slots=True)
class Ready:
    """From a caller: it is calibrated, has made its warm-up calls, and waits for `Go`."""

    calibration: Calibration | None
    plan_sha256: str
    """Of the plan and its audio as they arrived."""
    priority: str
    """The priority of its thread, in words."""
    clock_id: str
    """Of its clock, as in its turns' `boot_id`."""


@dataclass(frozen=True, slots=True)
class Began:
    """From a caller: a call has begun."""

    call: int


@dataclass(frozen=True, slots=True)
class Timed:
    """From a caller: a call of an open-loop load is over; times on the caller's own clock."""

    record: CallRecord
    """Without its audio."""


@dataclass(frozen=True, slots=True)
class Ended:
    """From a caller: a call has ended and is scored."""

    call: int
    scored: ScoredCall
    recording: bytes | None = None
    """The WAV file that the turns name as `audio`."""
    sentinel: str = ""
    """What its sentinel has logged since the last message."""


@dataclass(frozen=True, slots=True)
class Finished:
    """From a caller: its share is done, or it has stopped."""

    notes: tuple[str, ...]
    """On its calls, one line each."""
    sentinel: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """From a caller: its share ended early."""

    message: str
    by_agent: bool
    """The agent was the reason: the other callers would meet the same."""
    notes: tuple[str, ...] = ()
    sentinel: str = ""


ToCaller = Share | Go | Enough | Stop
FromCaller = Ready | Began | Timed | Ended | Finished | Failed
