"""How many turns fit into the time, and in which mode the engines run; pure, standard library only.

What is slow once (compiling, above all) is done before the clock of the measurement starts. Where that did not end in
its time, the turns run on captured graphs, which need no compiler; where the time is short, fewer turns are scored.
"""

from __future__ import annotations

from dataclasses import dataclass

TURNS = 93
"""The smallest number of which one may be over budget. One turn may be invalid; two would be more than 2 %."""
JUDGED_FROM = 59
"""With fewer turns there is no bound on p95, and no budget is judged. None of 59 may be over."""
TINY_TURNS = 3
CALL_S = 3.7
"""One call of `probe`, at a turn gap of half a second: pause, utterance, gap and hang-up; by arithmetic."""
WARM_UP_CALLS = 2
MARGIN_S = 20.0
"""Start and end of a run beside its calls: corpus, calibration probe, scoring, report; by arithmetic."""
GRAPHS = "tts.mode=graphs"
_FEWER = (
    f"{JUDGED_FROM} turns instead of {TURNS}: none of them may be over budget, and too few have pauses to judge "
    "cut-offs there"
)


@dataclass(frozen=True, slots=True)
class Preparation:
    """What came of loading the engines once before the clock starts."""

    load_s: float | None
    """How long loading took, compiling included; a second load is not slower. None: it did not end."""
    why: str = ""
    """Why it did not end."""


@dataclass(frozen=True, slots=True)
class TurnsPlan:
    """What the step `turns` does."""

    turns: int
    overrides: tuple[str, ...] = ()
    """Changes of the profile, beside the user's."""
    notes: tuple[str, ...] = ()
    """What was changed and why, for the report."""


def calls_s(turns: int) -> float:
    """Return how long a run of so many turns takes once its engines are loaded."""
    return (turns + WARM_UP_CALLS) * CALL_S + MARGIN_S


def plan_turns(
    preparation: Preparation, left_s: float, requested: int | None = None, overrides: tuple[str, ...] = ()
) -> TurnsPlan:
    """Return the plan for `left_s` seconds. What the user requested, turns or `tts.mode`, is not changed."""
    notes: list[str] = []
    added: tuple[str, ...] = ()
    turns = requested or TURNS
    if preparation.load_s is None:
        notes.append(f"the engines were not loaded beforehand ({preparation.why})")
        if any(override.partition("=")[0].strip() == "tts.mode" for override in overrides):
            notes.append("tts.mode stays as requested")
        else:
            added = (GRAPHS,)
            notes.append("CSM runs on captured graphs, not compiled")
        if requested is None:
            turns = JUDGED_FROM
            notes.append(_FEWER)
    else:
        needed_s = preparation.load_s + calls_s(turns)
        if needed_s > left_s:
            lack = f"{turns} turns need about {needed_s:.0f} s, {preparation.load_s:.0f} of them to load the engines"
            notes.append(f"{lack}; {left_s:.0f} s are left")
            if requested is None:
                turns = JUDGED_FROM
                notes.append(_FEWER)
    return TurnsPlan(turns, added, tuple(notes))
