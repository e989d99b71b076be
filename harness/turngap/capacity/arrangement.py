"""Gives the calls of a point their planned moments, with bystanders around them that keep the load as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from turngap.capacity.arrivals import NS_PER_S, ArrivalPlan
from turngap.model.records import CallRecord
from turngap.scenario import PlannedCall
from turngap.session.agent_run import AssignedCall
from turngap.session.timed_calls import TimedCall

BYSTANDERS = 2_000_000
"""Bystanders are numbered from here on; no other call is."""


@dataclass(slots=True)
class Arrangement:
    """The moments of one point's calls."""

    plan_for: Callable[[Sequence[PlannedCall], int], ArrivalPlan]
    """Plans the starts of these calls; the number is 1 for the point's calls, and counts on for calls placed again."""
    warm_up: PlannedCall
    """What bystanders say at the end of their calls: nothing that is scored."""
    rounds: int = field(default=0, init=False)
    _starts: dict[int, tuple[int, int | None]] = field(default_factory=dict, init=False)
    """By call: its planned start, and its phase."""
    _lead_s: float = field(default=0.0, init=False)
    _shape_ns: int | None = field(default=None, init=False)
    _bystanders: int = field(default=0, init=False)

    def arrange(self, calls: Sequence[AssignedCall]) -> Sequence[TimedCall]:
        """Return the calls at their moments, in the plan's order, with bystanders."""
        self.rounds += 1
        plan = self.plan_for([assigned.call for assigned in calls], self.rounds)
        self._lead_s = plan.lead_s
        left = list(reversed(calls))
        timed = []
        for place, arrival in enumerate(plan.arrivals):
            if arrival.is_bystander or not left:
                assigned, phase = self._make_bystander(calls[place % len(calls)]), None
            else:
                assigned, phase = left.pop(), arrival.phase
            self._starts[assigned.call.index] = (arrival.start_ns, phase)
            timed.append(TimedCall(assigned, arrival.start_ns))
        return timed

    def find_phase(self, record: CallRecord) -> int | None:
        """Return the phase of a call that was placed; None for a bystander."""
        start_ns, phase = self._starts.get(record.index, (0, None))
        if self._shape_ns is None and record.planned_ns is not None:
            self._shape_ns = record.planned_ns - start_ns + round(self._lead_s * NS_PER_S)
        return phase

    @property
    def shape_ns(self) -> int:
        """When the shape began, on the monotonic clock; known once a call has ended."""
        return self._shape_ns or 0

    def _make_bystander(self, like: AssignedCall) -> AssignedCall:
        """Return a call of the same kind that says nothing that is scored."""
        call = like.call
        self._bystanders += 1
        turns = (*call.turns[: call.lead_ins], *self.warm_up.turns)
        return replace(like, call=replace(call, index=BYSTANDERS + self._bystanders, turns=turns, warm_up=True))
