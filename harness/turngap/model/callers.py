"""The callers of a run whose calls several processes or machines placed together."""

from __future__ import annotations

from turngap_agent.documents import FrozenModel

from turngap.model.figures import Lateness


class CallerFigures(FrozenModel):
    """One caller: where it was, what it placed, and its own error. No clock of it is compared with another's."""

    name: str
    place: str
    """Its host or node."""
    calls: int
    """Calls that ended, warm-up calls among them."""
    turns: int
    """Scored turns of those calls."""
    priority: str = ""
    """The priority of its thread, in words."""
    calibration_bias_ms: float | None = None
    sentinel_p99_ms: float | None = None
    """The 99th percentile of its sentinel's errors inside the windows of its turns."""
    send: Lateness | None = None
    """How late its frames were sent."""
    receive: Lateness | None = None
    """How long its event loop stood still."""
    lost: str = ""
    """Why it was lost before its share was done; "" if it was not."""
    lost_calls: tuple[int, ...] = ()
    """The calls under way then: their turns are not in the run, unless they were placed again."""
