"""Which caller places which calls, what is left when one is lost, and whether all have the same plan. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from turngap.corpus.clips import Corpus
from turngap.scenario import PlannedCall


@dataclass(frozen=True, slots=True)
class Portion:
    """The calls of one caller, in their order, and how many of them it places at once."""

    calls: tuple[PlannedCall, ...]
    slots: int
    timed: tuple[tuple[PlannedCall, int], ...] = ()
    """Of an open-loop load: calls and bystanders, each with its start, ns after the beginning."""


def divide_calls(calls: Sequence[PlannedCall], slots: int, callers: int) -> tuple[Portion, ...]:
    """Divide the calls in turn over the callers, and the simultaneous calls likewise.

    The warm-up calls are all the first caller's. Callers that would have no simultaneous call, because there are fewer
    of these than callers, or no call, get none: at most `slots` portions are returned, each with a call.
    """
    warm_ups = tuple(call for call in calls if call.warm_up)
    others = [call for call in calls if not call.warm_up]
    n_used = max(1, min(callers, slots, len(others)))
    portions = []
    for place in range(n_used):
        own = tuple(others[place::n_used])
        portions.append(Portion((*warm_ups, *own) if place == 0 else own, slots // n_used + (place < slots % n_used)))
    return tuple(portion for portion in portions if portion.calls)


def divide_timed_calls(
    warm_ups: Sequence[PlannedCall], timed: Sequence[tuple[PlannedCall, int]], slots: int, callers: int
) -> tuple[Portion, ...]:
    """Divide calls that have a moment each in turn over the callers, in the order of their moments.

    Scored calls and bystanders are divided each for themselves: a caller that had bystanders alone would place none.
    """
    scored = [one for one in timed if not one[0].warm_up]
    bystanders = [one for one in timed if one[0].warm_up]
    n_used = max(1, min(callers, len(scored)))
    portions = []
    for place in range(n_used):
        own = sorted((*scored[place::n_used], *bystanders[place::n_used]), key=lambda one: one[1])
        calls = tuple(call for call, _ in own if not call.warm_up)
        portions.append(Portion((*warm_ups, *calls) if place == 0 else calls, slots, tuple(own)))
    return tuple(portions)


@dataclass(slots=True)
class CallerLog:
    """What is known of one caller's calls."""

    assigned: dict[int, PlannedCall]
    """By index; a call that has ended is taken out."""
    begun: set[int] = field(default_factory=set)
    """Calls that were begun and have not ended."""

    def begin(self, index: int) -> None:
        """Note that a call has begun."""
        self.begun.add(index)

    def end(self, index: int) -> None:
        """Note that a call has ended, and its turns are saved."""
        self.begun.discard(index)
        self.assigned.pop(index, None)

    @property
    def running(self) -> tuple[int, ...]:
        """The indices of the calls under way, in order."""
        return tuple(sorted(self.begun))

    @property
    def remaining(self) -> tuple[PlannedCall, ...]:
        """The calls that have not ended, those under way among them; a warm-up is not repeated."""
        return tuple(call for _, call in sorted(self.assigned.items()) if not call.warm_up)


def hash_plan(calls: Sequence[PlannedCall], corpus: Corpus) -> str:
    """Return the SHA-256 of what is called and of its audio, sample by sample, in hexadecimal digits."""
    digest = hashlib.sha256()
    for call in calls:
        said = "\0".join(turn.model_dump_json() for turn in call.turns)
        network = call.network.model_dump_json() if call.network is not None else ""
        digest.update(f"{call.index}\0{call.lead_ins}\0{said}\0{call.line.model_dump_json()}\0{network}\0".encode())
    for key in sorted(corpus.clips):
        clip = corpus.clips[key]
        digest.update(f"{key}\0{clip.speech_start_sample}\0{clip.transcript}\0".encode())
        digest.update(clip.pcm.astype("<i2").tobytes())
    return digest.hexdigest()
