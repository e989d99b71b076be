"""The clock of an agent on another host, from what both sides saw. Pure.

The offset is the agent's clock minus ours. No clock is read twice and no delay is assumed to be symmetric; two facts
bound the offset, as in Cristian's algorithm and NTP (RFC 5905, section 8), without their estimate of the middle delay:
- what we sent arrived later: read at A by the agent's clock and sent at S by ours, so the offset is at most A - S;
- what the agent sent was received later: sent at C by its clock and received at R by ours, so it is at least C - R.
The smallest difference of the first kind and the largest of the second are those of the fastest messages. The offset
drifts, so a fact tells less about a time the further away it lies: by at most `LARGEST_DRIFT`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LARGEST_DRIFT_PPM = 500
"""The drift of two clocks of which one is being corrected: a kernel adjusts its own by 500 ppm at most (adjtimex(2));
free quartz clocks differ by some tens of ppm."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One message that crossed: `offset_ns` bounds the offset at our time `at_ns`."""

    at_ns: int
    offset_ns: int


@dataclass(frozen=True, slots=True)
class Alignment:
    """Facts about the offset between an agent's clock and ours."""

    at_most: tuple[Fact, ...] = ()
    """The offset was at most this."""
    at_least: tuple[Fact, ...] = ()
    """The offset was at least this."""

    @classmethod
    def of_messages(cls, to_agent: Iterable[tuple[int, int]], to_us: Iterable[tuple[int, int]]) -> Alignment:
        """Return the facts of messages: pairs of our time and the agent's, ns.

        Args:
            to_agent: Sent by us, read by the agent; or anything of ours that came before something of the agent's.
            to_us: Received by us, sent by the agent; or anything of ours that came after.
        """
        return cls(
            tuple(Fact(ours_ns, theirs_ns - ours_ns) for ours_ns, theirs_ns in to_agent),
            tuple(Fact(ours_ns, theirs_ns - ours_ns) for ours_ns, theirs_ns in to_us),
        )

    @property
    def is_bounded(self) -> bool:
        """Whether there are facts of both kinds."""
        return bool(self.at_most and self.at_least)

    def bounds_ns(self, at_ns: int) -> tuple[int, int]:
        """Return the least and the largest offset at our time `at_ns`; the first is larger if the facts contradict.

        Raises:
            ValueError: there are no facts of one kind.
        """
        if not self.is_bounded:
            raise ValueError("the offset is not bounded on both sides")
        low_ns = max(fact.offset_ns - _drift_ns(at_ns, fact.at_ns) for fact in self.at_least)
        high_ns = min(fact.offset_ns + _drift_ns(at_ns, fact.at_ns) for fact in self.at_most)
        return low_ns, high_ns

    def offset_near(self, at_ns: int, reach_ns: int) -> tuple[int, int]:
        """Return the offset around our time `at_ns`, and by how much it may be off either way, ns.

        The true offset at any time up to `reach_ns` from there is within that, if the facts are true and the drift is
        as small as it is taken to be.

        Raises:
            ValueError: there are no facts of one kind, or they contradict.
        """
        low_ns, high_ns = self.bounds_ns(at_ns)
        if low_ns > high_ns:
            raise ValueError(f"what was sent and received contradicts by {(low_ns - high_ns) / 1e6:.1f} ms")
        return (low_ns + high_ns) // 2, (high_ns - low_ns + 1) // 2 + _drift_ns(at_ns, at_ns + reach_ns)


def _drift_ns(at_ns: int, other_ns: int) -> int:
    """Return by how much the offset can change between two times, rounded up."""
    return -(-abs(at_ns - other_ns) * LARGEST_DRIFT_PPM // 1_000_000)
