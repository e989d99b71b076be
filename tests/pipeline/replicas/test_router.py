"""Sessions keep to their replica; the death of one moves its own sessions alone."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.replicas.router import rank_replicas

REPLICAS = ["a", "b", "c", "d"]


@given(st.text(), st.permutations(REPLICAS))
def test_a_session_has_the_same_replica_in_whatever_order_they_are_listed(session: str, listed: list[str]) -> None:
    """Every router of every process decides the same."""
    assert rank_replicas(session, listed) == rank_replicas(session, REPLICAS)


@given(st.text(), st.sampled_from(REPLICAS))
def test_only_the_sessions_of_a_dead_replica_move(session: str, dead: str) -> None:
    """Each to its own next one."""
    before = rank_replicas(session, REPLICAS)
    after = rank_replicas(session, [one for one in REPLICAS if one != dead])
    assert after == [one for one in before if one != dead]


def test_sessions_are_spread() -> None:
    """Four replicas get about a quarter each: four standard deviations of a binomial distribution."""
    n = 4000
    counts = Counter(rank_replicas(f"CA{index:032x}", REPLICAS)[0] for index in range(n))
    limit = 4 * (n * 0.25 * 0.75) ** 0.5
    assert all(abs(counts[one] - n / 4) < limit for one in REPLICAS)
