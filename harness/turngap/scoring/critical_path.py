"""The critical path of a turn from t1 back to t0, the exposed time of each stage on it, and the slack of the others.

An activity is a node with a start and an end; what it waits for is listed in `turngap_agent.tracing.PREREQUISITES`. The
path is walked backwards from t1: at each point it goes to the prerequisite that finished last. Path time inside an
activity is
its stage's exposed time, path time in no activity is unexplained; as the path has no holes, they add up to the gap, to
the nanosecond. Pure: integers in, integers out.

Rules for what does not fit a plain chain:
- An activity that was not reported is skipped: its successors wait for its prerequisites, its time is
  unexplained.
- A prerequisite still at work when its successor started (they overlap) is on the path until that start only.
- A prerequisite that ended after its successor had *ended* was not waited for, and is none.
- Work ahead of the first message waited for the confirmed end only if it began after it, and all else that it needed
  had been there before. Spans do not tell whether it would have waited otherwise: then the slack of the confirmed end
  is that of an agent which speculates all the way, and at most so much for one that does not.
- The path ends at t0: of work that began before t0 only the part after t0 is exposed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from turngap_agent.tracing import PREREQUISITES, Activity, Stage


@dataclass(frozen=True, slots=True)
class Interval:
    """When an activity ran, in ns on the host's monotonic clock; `end_ns` is not before `start_ns`."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the path; never empty."""

    stage: Stage
    start_ns: int
    end_ns: int


Activities = Mapping[Activity, Interval]
_HOLD_AUDIO = (Activity.TRANSPORT_OUT, Activity.LEAD_IN)
"""These always wait for the confirmed end."""


def find_critical_path(activities: Activities, t0_ns: int, t1_ns: int) -> tuple[Piece, ...]:
    """Return the path from t0 to t1 in the order of time, without holes: piece i ends where piece i + 1 starts.

    `activities` holds those of the attempt that was heard, as far as they are known; LEAD_IN, where it is known, ends
    at t1. Of two prerequisites that end together the first of `PREREQUISITES` is followed.
    """
    pieces: list[Piece] = []
    at_ns = t1_ns
    waited_for = _known_prerequisites((Activity.LEAD_IN,), activities)
    while at_ns > t0_ns and waited_for:
        latest = max(waited_for, key=lambda activity: activities[activity].end_ns)
        end_ns = max(t0_ns, min(activities[latest].end_ns, at_ns))
        start_ns = max(t0_ns, min(activities[latest].start_ns, end_ns))
        pieces.append(Piece(Stage.UNEXPLAINED, end_ns, at_ns))
        pieces.append(Piece(latest.stage, start_ns, end_ns))
        at_ns = start_ns
        waited_for = find_prerequisites(latest, activities)
    pieces.append(Piece(Stage.UNEXPLAINED, t0_ns, at_ns))
    return tuple(piece for piece in reversed(pieces) if piece.end_ns > piece.start_ns)


def exposed_by_stage_ns(path: Iterable[Piece]) -> dict[Stage, int]:
    """Return the path time of each stage, UNEXPLAINED included; 0 for stages that are not on the path."""
    exposed = dict.fromkeys(Stage, 0)
    for piece in path:
        exposed[piece.stage] += piece.end_ns - piece.start_ns
    return exposed


def slack_by_activity_ns(activities: Activities, t1_ns: int) -> dict[Activity, int]:
    """Return how much later each activity could have ended without delaying t1; 0 on the path.

    The backward pass of the critical path method. Every activity keeps its duration, and its distance to the latest of
    its prerequisites; so prerequisite P of S can end later by S's own slack and by what P was ahead of the latest. An
    activity that nothing waited for could have gone on until t1.
    """
    slack: dict[Activity, int] = {}
    for activity in reversed(Activity):
        if activity not in activities:
            continue
        end_ns = activities[activity].end_ns
        rooms = []
        for successor, own in slack.items():
            waited_for = find_prerequisites(successor, activities)
            if activity in waited_for:
                rooms.append(own + max(activities[other].end_ns for other in waited_for) - end_ns)
        if activity in _known_prerequisites((Activity.LEAD_IN,), activities):
            rooms.append(0)
        slack[activity] = min(rooms, default=max(0, t1_ns - end_ns))
    return slack


def find_prerequisites(activity: Activity, activities: Activities) -> tuple[Activity, ...]:
    """Return the known activities that it had to wait for; activities that were not reported are skipped."""
    end_ns = activities[activity].end_ns
    known = _known_prerequisites(PREREQUISITES[activity], activities)
    ended = tuple(other for other in known if activities[other].end_ns <= end_ns)
    if activity in _HOLD_AUDIO or Activity.CONFIRMED_END not in ended:
        return ended
    rest = tuple(other for other in ended if other is not Activity.CONFIRMED_END)
    confirmed_ns = activities[Activity.CONFIRMED_END].end_ns
    waited = max((activities[other].end_ns for other in rest), default=confirmed_ns - 1) < confirmed_ns
    return ended if waited and confirmed_ns <= activities[activity].start_ns else rest


def _known_prerequisites(prerequisites: Iterable[Activity], activities: Activities) -> tuple[Activity, ...]:
    known: list[Activity] = []
    for activity in prerequisites:
        known += [activity] if activity in activities else _known_prerequisites(PREREQUISITES[activity], activities)
    return tuple(dict.fromkeys(known))
