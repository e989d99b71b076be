"""When a server is started, killed and started again: a state machine that is passed the time; pure."""

from __future__ import annotations

from enum import StrEnum

from turngap_agent.llm.vllm.settings import Restart

UNHEALTHY_CHECKS = 3
"""A ready server that fails this many health checks in a row hangs."""


class State(StrEnum):
    """The state of the server."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    """It is down, and is started again when the wait is over."""


class Supervision:
    """Records what happens to the server and decides when to act. Times are nanoseconds of one clock."""

    def __init__(self, restart: Restart, start_limit_s: float, now_ns: int) -> None:
        """The server is being started now."""
        self._restart = restart
        self._start_limit_ns = round(start_limit_s * 1e9)
        self.state = State.STARTING
        self.failures = 0
        """How often in a row the server failed, at a start or before it had run for `calm_s`."""
        self.reason = ""
        """Why it was last down."""
        self._since_ns = now_ns
        self._unhealthy = 0

    @property
    def start_at_ns(self) -> int:
        """While WAITING: when to start it again."""
        exponent = min(self.failures - 1, 32)
        wait_s = min(self._restart.first_s * 2.0**exponent, self._restart.longest_s)
        return self._since_ns + round(wait_s * 1e9)

    def age_s(self, now_ns: int) -> float:
        """Return for how long it has been in this state."""
        return (now_ns - self._since_ns) / 1e9

    def record_start(self, now_ns: int) -> None:
        """Record that its process runs."""
        self._enter(State.STARTING, now_ns)

    def record_ready(self, now_ns: int) -> None:
        """Record that it answers and is warm."""
        self._enter(State.READY, now_ns)

    def record_down(self, reason: str, now_ns: int) -> None:
        """Record that its process has ended, or was killed because it hung."""
        calm = self.state is State.READY and self.age_s(now_ns) >= self._restart.calm_s
        self.failures = 1 if calm else self.failures + 1
        self.reason = reason
        self._enter(State.WAITING, now_ns)

    def record_check(self, healthy: bool, now_ns: int) -> str | None:
        """Record a health check; return why the process must be killed, or None."""
        self._unhealthy = 0 if healthy else self._unhealthy + 1
        if self.state is State.STARTING and now_ns - self._since_ns >= self._start_limit_ns:
            return f"not ready within {self._start_limit_ns / 1e9:g} s; raise llm.start_limit_s if it is only slow"
        if self.state is State.READY and self._unhealthy >= UNHEALTHY_CHECKS:
            return f"hangs: {UNHEALTHY_CHECKS} health checks in a row failed"
        return None

    def describe(self, now_ns: int) -> str:
        """Return one line on why a request cannot be served now."""
        match self.state:
            case State.WAITING:
                left_s = max(0.0, (self.start_at_ns - now_ns) / 1e9)
                return f"vLLM is down ({self.reason}); it restarts in {left_s:.0f} s"
            case State.STARTING if self.failures:
                return f"vLLM is down ({self.reason}); it has been restarting for {self.age_s(now_ns):.0f} s"
        return f"vLLM is {self.state}"

    def _enter(self, state: State, now_ns: int) -> None:
        self.state, self._since_ns, self._unhealthy = state, now_ns, 0
