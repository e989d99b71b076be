"""Which faults are injected into which stages of a profile, and when: all, or those that were asked for. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from turngap_agent.documents import list_choices
from turngap_agent.errors import UsageError
from turngap_agent.profile import Profile
from turngap_agent.telephony.faults import Fault, FaultKind, FaultStage, Moment, can_happen

OWN_PROCESS = "own_process"
"""`Placement` of an engine that the agent starts as a process."""
TIMES = ("once", "always")


@dataclass(frozen=True, slots=True)
class ChaosRequest:
    """The faults to be injected into an agent of `profile`, in this order."""

    profile: Profile
    faults: tuple[Fault, ...]
    seed: int
    agents: int = 1
    """Agents at the same time; each has one fault at a time."""


def plan_chaos(
    profile: Profile, *, only: Sequence[str] = (), seed: int = 1, calls: int | None = None, agents: int = 1
) -> ChaosRequest:
    """Return the plan. `only`: parts of faults joined by "/", as in "stt/raise"; a fault has to match one of them.

    The seed decides the order and, with `calls`, which of the faults are tried.

    Raises:
        UsageError: (`usage.chaos`) the profile has no such stage, nothing is called so, or a number is not positive.
    """
    for option, number in (("--calls", calls), ("--agents", agents)):
        if number is not None and number < 1:
            raise UsageError(f"{option} {number}: must be at least 1", code="usage.chaos")
    possible = list_faults(list_stages(profile))
    wanted = [parse_filter(text) for text in only]
    for text, words in zip(only, wanted, strict=True):
        if not any(matches(fault, words) for fault in possible):
            raise UsageError(f"--only {text}: {_explain_absence(profile, words)}", code="usage.chaos")
    faults = [fault for fault in possible if not wanted or any(matches(fault, words) for words in wanted)]
    random.Random(seed).shuffle(faults)
    return ChaosRequest(profile, tuple(faults[:calls]), seed, min(agents, len(faults[:calls])))


def list_stages(profile: Profile) -> Mapping[FaultStage, bool]:
    """Return the stages of a profile, each with whether its engine has a process of its own."""
    engines = {
        FaultStage(stage): settings.own_process or settings.placement().value == OWN_PROCESS
        for stage, settings in profile.engines().items()
    }
    return {stage: engines.get(stage, False) for stage in FaultStage if stage in engines or stage is FaultStage.SENDING}


def list_faults(stages: Mapping[FaultStage, bool]) -> list[Fault]:
    """Return every fault of every stage at every moment, once each; and from the first word on for the whole call.

    Sending does not fail for the whole call: then there is nothing that an agent could be heard to say.
    """
    return [
        Fault(stage, kind, moment, always)
        for stage, has_process in stages.items()
        for kind in FaultKind
        if can_happen(stage, kind) and (has_process or kind is not FaultKind.KILL)
        for moment, always in (*((moment, False) for moment in Moment), (Moment.FIRST_WORD, True))
        if not (always and stage is FaultStage.SENDING)
    ]


def parse_filter(text: str) -> tuple[str, ...]:
    """Return the words of an `--only`.

    Raises:
        UsageError: (`usage.chaos`) one is neither a stage, a fault, a moment nor how often.
    """
    known = [str(word) for kind in (FaultStage, FaultKind, Moment) for word in kind] + list(TIMES)
    words = tuple(text.replace("/", " ").split())
    for word in words or (text,):
        if word not in known:
            raise UsageError(
                f"--only {text}: no stage, fault or moment is called {word!r}{list_choices(word, known)}",
                code="usage.chaos",
            )
    return words


def matches(fault: Fault, words: Sequence[str]) -> bool:
    """Return whether all words of a filter are the fault's."""
    return set(words) <= set(str(fault).split())


def _explain_absence(profile: Profile, words: Sequence[str]) -> str:
    """Return why none of the profile's faults matches."""
    stages = list_stages(profile)
    missing = [stage for stage in FaultStage if stage in words and stage not in stages]
    if missing == [FaultStage.TURN]:
        return f"profile {profile.name} asks no turn model; add --set endpointing.policy=speculative"
    if missing:
        return f"profile {profile.name} has no stage {missing[0]}; it has: {', '.join(stages)}"
    if FaultKind.KILL in words:
        return (
            f"no such engine of profile {profile.name} has a process of its own to be killed; "
            "add --set SECTION.own_process=true"
        )
    return "no fault is all of that"
