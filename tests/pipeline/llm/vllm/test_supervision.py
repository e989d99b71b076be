"""When a server is started, killed and started again, at times that the test passes."""

import re

from turngap_agent.llm.vllm.settings import Restart
from turngap_agent.llm.vllm.supervision import UNHEALTHY_CHECKS, State, Supervision

S = 1_000_000_000
RESTART = Restart(first_s=1, longest_s=10, calm_s=100)


def supervision() -> Supervision:
    return Supervision(RESTART, start_limit_s=60, now_ns=0)


def test_a_start_that_takes_too_long_is_ended() -> None:
    """At the limit, and not before."""
    machine = supervision()
    assert machine.record_check(False, 59 * S) is None
    assert machine.record_check(False, 60 * S) == "not ready within 60 s; raise llm.start_limit_s if it is only slow"


def test_a_ready_server_may_miss_some_checks() -> None:
    """Only so many in a row mean that it hangs; one that passes resets the count."""
    machine = supervision()
    machine.record_ready(5 * S)
    misses = [False] * (UNHEALTHY_CHECKS - 1)
    assert [machine.record_check(healthy, 900 * S) for healthy in [*misses, True, *misses]] == [None] * (
        2 * len(misses) + 1
    )
    assert "hangs" in str(machine.record_check(False, 900 * S))


def test_waits_double_up_to_the_longest() -> None:
    """1, 2, 4, 8, 10, 10 s after failures in a row."""
    machine, now_ns, waits = supervision(), 0, []
    for _ in range(6):
        machine.record_down("it died", now_ns)
        assert machine.state is State.WAITING
        waits.append((machine.start_at_ns - now_ns) / S)
        now_ns = machine.start_at_ns
        machine.record_start(now_ns)
    assert waits == [1, 2, 4, 8, 10, 10]


def test_a_server_that_was_calm_is_trusted_again() -> None:
    """After a long run the first wait is short; after a short run the waits keep growing."""
    machine = supervision()
    for _ in range(4):
        machine.record_down("it died", 0)
    machine.record_ready(0)
    machine.record_down("it died", 99 * S)
    assert machine.failures == 5
    machine.record_ready(200 * S)
    machine.record_down("it died", 300 * S)
    assert (machine.failures, machine.start_at_ns) == (1, 301 * S)


def test_failures_without_end_keep_the_longest_wait() -> None:
    """The wait does not overflow."""
    machine = supervision()
    for _ in range(5000):
        machine.record_down("it died", 0)
    assert machine.start_at_ns == 10 * S


def test_the_reason_it_cannot_serve_is_one_line() -> None:
    """With what happens next."""
    machine = supervision()
    assert machine.describe(0) == "vLLM is starting"
    machine.record_ready(0)
    machine.record_down("it was killed by SIGKILL", 8 * S)
    assert re.fullmatch(r"vLLM is down \(it was killed by SIGKILL\); .* 1 s", machine.describe(8 * S))
    machine.record_start(9 * S)
    assert re.fullmatch(r"vLLM is down \(it was killed by SIGKILL\); .* 10 s", machine.describe(19 * S))
