"""When a server is started, given up on, killed and started again, on a clock of the test's own."""

from turngap_agent.llm.vllm import Restart
from turngap_agent.llm.vllm.supervision import UNHEALTHY_CHECKS, State, Supervision

S = 1_000_000_000
RESTART = Restart(first_s=1, longest_s=10, calm_s=100)


def supervision() -> Supervision:
    return Supervision(RESTART, start_limit_s=60, now_ns=0)


def test_a_start_that_takes_too_long_is_given_up() -> None:
    """Up to the limit there is hope."""
    watched = supervision()
    assert watched.checked(False, 59 * S) is None
    assert watched.checked(False, 60 * S) == "not ready within 60 s; raise llm.start_limit_s if it is only slow"


def test_a_ready_server_may_miss_some_checks() -> None:
    """Only so many in a row mean that it hangs; one that passes makes good for those before it."""
    watched = supervision()
    watched.ready(5 * S)
    misses = [False] * (UNHEALTHY_CHECKS - 1)
    assert [watched.checked(healthy, 900 * S) for healthy in [*misses, True, *misses]] == [None] * (2 * len(misses) + 1)
    assert "hangs" in str(watched.checked(False, 900 * S))


def test_waits_double_up_to_the_longest() -> None:
    """1, 2, 4, 8, 10, 10 s after failures in a row."""
    watched, now_ns, waits = supervision(), 0, []
    for _ in range(6):
        watched.down("it died", now_ns)
        assert watched.state is State.WAITING
        waits.append((watched.start_at_ns - now_ns) / S)
        now_ns = watched.start_at_ns
        watched.started(now_ns)
    assert waits == [1, 2, 4, 8, 10, 10]


def test_a_server_that_was_calm_is_trusted_again() -> None:
    """After a long life the first wait is short; after a short one the waits go on growing."""
    watched = supervision()
    for _ in range(4):
        watched.down("it died", 0)
    watched.ready(0)
    watched.down("it died", 99 * S)
    assert watched.failures == 5
    watched.ready(200 * S)
    watched.down("it died", 300 * S)
    assert (watched.failures, watched.start_at_ns) == (1, 301 * S)


def test_failures_without_end_keep_the_longest_wait() -> None:
    """No number of them makes the wait overflow."""
    watched = supervision()
    for _ in range(5000):
        watched.down("it died", 0)
    assert watched.start_at_ns == 10 * S


def test_it_says_why_it_cannot_serve() -> None:
    """The reason and what comes next, in one line."""
    watched = supervision()
    assert watched.describe(0) == "vLLM is starting"
    watched.ready(0)
    watched.down("it was killed by SIGKILL", 8 * S)
    assert watched.describe(8 * S) == "vLLM is down (it was killed by SIGKILL); it is started again in 1 s"
    watched.started(9 * S)
    assert watched.describe(19 * S) == ("vLLM is down (it was killed by SIGKILL); it has been starting again for 10 s")
