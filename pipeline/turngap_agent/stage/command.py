"""`python -m turngap_agent stage`: checks the options, measures the stage, and prints one JSON document."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from turngap_agent import profile as profiles
from turngap_agent.documents import list_choices
from turngap_agent.engines import EngineKind, EngineSettings, Placement
from turngap_agent.errors import EngineError, UsageError
from turngap_agent.profile import Profile
from turngap_agent.stage.inputs import read_inputs
from turngap_agent.stage.measurement import CADENCE_S

KINDS: tuple[EngineKind, ...] = get_args(EngineKind)
Place = Literal["thread", "process", "mps"]
PLACES: tuple[Place, ...] = get_args(Place)
DEFAULT_REPEATS = 20


@dataclass(frozen=True, slots=True)
class StageOptions:
    """What is measured, and how."""

    stage: EngineKind
    profile: Profile
    profile_file: str
    repeats: int = DEFAULT_REPEATS
    cadence_s: tuple[float, float] | None = CADENCE_S
    """From the start of one unit to that of the next; None: back to back."""
    beside: tuple[EngineKind, ...] = ()
    """The engines that work meanwhile."""
    place: Place = "thread"
    """Where they do."""
    with_floor: bool = True

    @property
    def settings(self) -> EngineSettings:
        """The engine's settings, completed as the agent completes them."""
        return choose_settings(self.profile, self.stage)


def choose_settings(profile: Profile, stage: EngineKind) -> EngineSettings:
    """Return an engine's settings, completed as the agent completes them, for an engine in this process.

    With `own_process` another process would do the work, and this one's time, memory and parts would say nothing.
    """
    settings = profile.engines()[stage].for_calls(profile.limits.simultaneous_calls)
    return settings.model_copy(update={"own_process": False})


def make_options(
    stage: str,
    profile: str,
    *,
    overrides: Sequence[str] = (),
    repeats: int = DEFAULT_REPEATS,
    cadence: str | None = None,
    busy: bool = False,
    beside: str | None = None,
    place: str = "thread",
    with_floor: bool = True,
) -> StageOptions:
    """Return the checked options of the command line.

    Raises:
        UsageError: (or ProfileError) one of them is wrong, or this machine or the profile cannot measure the stage.
    """
    chosen = profiles.load(profile, tuple(overrides))
    kind = _check_kind(stage, "stage")
    others = tuple(_check_kind(name.strip(), "--beside") for name in (beside or "").split(",") if name.strip())
    if kind in others or len(set(others)) < len(others):
        raise UsageError(f"--beside {beside}: name each other engine once, and not {kind}, which is measured")
    if place not in PLACES:
        raise UsageError(f"--in {place}: no such place{list_choices(place, PLACES)}")
    if place != "thread" and not others:
        raise UsageError(f"--in {place}: says where the engines of --beside work; add --beside, as in --beside llm")
    if repeats < 1:
        raise UsageError(f"--repeats {repeats}: must be at least 1")
    if busy and cadence is not None:
        raise UsageError("--busy is back to back and --cadence is not: give one of them")
    engines = chosen.engines()
    for name in (kind, *others):
        _check_engine(chosen, engines.get(name), name)
    if place == "mps":
        _check_mps(chosen, kind, others)
    every = None if busy else CADENCE_S if cadence is None else _parse_cadence(cadence)
    return StageOptions(kind, chosen, profile, repeats, every, others, place, with_floor)


def run(options: StageOptions) -> int:
    """Measure the stage on the inputs at stdin, print the document, and return the exit code.

    Raises:
        TurngapError: nothing was measured.
    """
    from turngap_agent.stage.session import measure_stage

    text = sys.stdin.read()
    document: dict[str, Any] = asyncio.run(measure_stage(options, read_inputs(text), text))
    print(json.dumps(document, indent=2))
    return 0


def _check_kind(name: str, where: str) -> EngineKind:
    for kind in KINDS:
        if kind == name:
            return kind
    raise UsageError(f"{where} {name}: no such stage{list_choices(name, KINDS)}")


def _check_engine(profile: Profile, settings: EngineSettings | None, name: str) -> None:
    if settings is None:
        raise UsageError(
            f"stage {name}: profile {profile.name!r} has no turn model (its endpointing uses none); "
            "set endpointing.model, or choose another stage"
        )
    if settings.placement() is Placement.REMOTE:
        raise UsageError(
            f"stage {name}: engine {settings.engine} of profile {profile.name!r} is a server at a URL: its process, "
            "memory and parts are not here to be measured; measure it where it runs, or with `turngap run`"
        )


def _check_mps(profile: Profile, kind: EngineKind, others: Sequence[EngineKind]) -> None:
    """Check that this machine can run the agent's MPS, and that the engines on both sides use the GPU."""
    from turngap_agent.gpu import choice, mps

    engines = profile.engines()
    if engines[kind].placement() is not Placement.GPU or all(
        engines[name].placement() not in (Placement.GPU, Placement.OWN_PROCESS) for name in others
    ):
        raise UsageError(
            f"--in mps: shares a GPU between processes, and {kind} or {', '.join(others)} of profile {profile.name!r} "
            "uses none; choose another profile, or --in process"
        )
    try:
        choice.choose(profile.gpu.device)
    except EngineError as error:
        raise UsageError(f"--in mps: {error}") from None
    if shutil.which(mps.CONTROL) is None:
        raise UsageError(
            f"--in mps: {mps.CONTROL} is not installed; it is part of the NVIDIA driver (a container needs the driver "
            "capability `compute`); install it, or choose --in process"
        )


def _parse_cadence(text: str) -> tuple[float, float]:
    try:
        values = [float(part) for part in text.split("-")]
    except ValueError:
        values = []
    if len(values) == 1:
        values *= 2
    if len(values) != 2 or not 0 <= values[0] <= values[1] <= 600:
        raise UsageError(f"--cadence {text}: expected seconds from one unit to the next, as in 6 or 5-8")
    return values[0], values[1]
