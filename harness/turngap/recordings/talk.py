"""Who has the floor: how stretches of speech of two speakers become gaps, overlaps, yields and backchannels. Pure.

After Heldner and Edlund (Journal of Phonetics 38, 2010): silence between two speakers is a gap, within one a pause;
overlap is *between* speakers if the floor changes in it, and *within* one if the one who had the floor keeps it. So a
holder yields if it stops first and the newcomer goes on, and holds if the newcomer stops first. Talk of one speaker
with pauses under 1 s is one spurt. A spurt of less than 1 s inside the other's is a backchannel (Ekstedt and Skantze,
SIGdial 2022, use the same second).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from turngap.recordings.speech import Stretch

PAUSE_MS = 1000.0
"""A longer silence of one speaker ends a spurt."""
BACKCHANNEL_MS = 1000.0
"""A longer spurt over the other's talk is an attempt to take the floor."""
AT_END_MS = 50.0
"""Talk that ends so near the end of the recording was cut by it."""


class Side(StrEnum):
    """A speaker of a call."""

    CALLER = "caller"
    AGENT = "agent"

    @property
    def other(self) -> Side:
        """The one that this side talks to."""
        return Side.AGENT if self is Side.CALLER else Side.CALLER


class Entry(StrEnum):
    """What a spurt did to the floor."""

    OPENS = "opens"
    """Nobody had spoken before."""
    CONTINUES = "continues"
    """Its speaker had the floor, and a pause."""
    GAP = "gap"
    """It took the floor after a silence."""
    YIELD = "yield"
    """It took the floor in overlap: the holder stopped first."""
    HOLD = "hold"
    """It did not take the floor: it stopped first, after a second or more of it."""
    BACKCHANNEL = "backchannel"
    """The same in less than a second."""
    UNDECIDED = "undecided"
    """It began in the other's talk, and the recording ends before either stops."""

    @property
    def takes_floor(self) -> bool:
        """Whether the floor is its speaker's afterwards."""
        return self not in (Entry.HOLD, Entry.BACKCHANNEL, Entry.UNDECIDED)

    @property
    def is_overlap(self) -> bool:
        """Whether it began while the other had the floor and talked."""
        return self in (Entry.YIELD, Entry.HOLD, Entry.BACKCHANNEL, Entry.UNDECIDED)


@dataclass(frozen=True, slots=True)
class Spurt:
    """Talk of one speaker, and what it did to the floor."""

    side: Side
    stretches: tuple[Stretch, ...]
    entry: Entry = Entry.OPENS
    other_end_ms: float | None = None
    """When the other's talk ended that it followed (a gap) or began in (an overlap); None if there was none."""

    @property
    def start_ms(self) -> float:
        """Its first sound."""
        return self.stretches[0].start.at_ms

    @property
    def end_ms(self) -> float:
        """Its last sound."""
        return self.stretches[-1].end.at_ms

    @property
    def length_ms(self) -> float:
        """With its pauses."""
        return self.end_ms - self.start_ms


def follow_floor(caller: Sequence[Stretch], agent: Sequence[Stretch], length_ms: float) -> tuple[Spurt, ...]:
    """Return the spurts of both in the order in which they began, each with what it did to the floor.

    `length_ms` is that of the recording: who talks at its end has not stopped.
    """
    both = [*_join(Side.CALLER, caller), *_join(Side.AGENT, agent)]
    spurts = sorted(both, key=lambda spurt: spurt.start_ms)
    placed: list[Spurt] = []
    holder: Spurt | None = None
    for index, spurt in enumerate(spurts):
        entry, other_end_ms = _place(spurt, holder, spurts[:index], length_ms - AT_END_MS)
        done = Spurt(spurt.side, spurt.stretches, entry, other_end_ms)
        placed.append(done)
        if entry.takes_floor:
            holder = done
    return tuple(placed)


def overlap_ms(one: Sequence[Stretch], other: Sequence[Stretch]) -> float:
    """Return how long both were audible at once."""
    return sum(max(0.0, min(a.end.at_ms, b.end.at_ms) - max(a.start.at_ms, b.start.at_ms)) for a in one for b in other)


def _join(side: Side, stretches: Sequence[Stretch]) -> list[Spurt]:
    groups: list[list[Stretch]] = []
    for stretch in stretches:
        if groups and stretch.start.at_ms - groups[-1][-1].end.at_ms < PAUSE_MS:
            groups[-1].append(stretch)
        else:
            groups.append([stretch])
    return [Spurt(side, tuple(group)) for group in groups]


def _place(spurt: Spurt, holder: Spurt | None, before: Sequence[Spurt], last_ms: float) -> tuple[Entry, float | None]:
    """Return what a spurt does to the floor, and when the other's talk ended that it meets."""
    if holder is None:
        return Entry.OPENS, None
    others = [each for each in before if each.side is not spurt.side]
    talking = max((each.end_ms for each in others if each.end_ms > spurt.start_ms), default=None)
    if talking is not None and holder.side is spurt.side:
        # The other only accompanies: its backchannel or its attempt is what overlaps, not this talk.
        return Entry.CONTINUES, None
    if talking is not None:
        if min(spurt.end_ms, talking) >= last_ms:
            return Entry.UNDECIDED, talking
        if spurt.end_ms >= talking:
            return Entry.YIELD, talking
        return (Entry.BACKCHANNEL if spurt.length_ms < BACKCHANNEL_MS else Entry.HOLD), talking
    if holder.side is spurt.side:
        return Entry.CONTINUES, None
    return Entry.GAP, max(each.end_ms for each in others)
