"""Load shapes: how the load of a point changes while it lasts. YAML in, frozen models out.

A shape has no numbers of calls of its own: its loads are multiples of the point's (`--calls`, `--rate`).
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.errors import ScenarioError

SHIPPED = Path(__file__).resolve().parents[1] / "scenarios" / "loads"
STEADY = "steady"
"""The shape of points that a budget is judged at."""
LONGEST_S = 7 * 86_400.0

Share = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class Phase(FrozenModel):
    """A stretch of a shape."""

    name: str = Field(pattern=documents.NAME)
    seconds: float | None = Field(None, gt=0, le=LONGEST_S, allow_inf_nan=False)
    """How long it lasts; None, of the last phase alone: until every turn of the scenario was called once."""
    load: Share = 1.0
    """The load at its start, times that of the point."""
    until: Share | None = None
    """The load at its end, which it approaches evenly; None: it stays as it is."""

    @property
    def end_load(self) -> float:
        """The load at its end."""
        return self.load if self.until is None else self.until


class LoadShape(FrozenModel):
    """A load shape file."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=documents.NAME)
    description: str = ""
    arrivals: Literal["even", "poisson"] = "poisson"
    """`even`: as many calls under way as the load says, one planned after the other on each line, or at equal distances
    for a rate. `poisson`: calls arrive independently of each other, by a seeded Poisson process."""
    warm: bool = True
    """Warm-up calls are placed first, one by one; false: the load meets an agent that has just started."""
    recovery_of: str | None = None
    """The phase after whose end it is measured how long the agent takes to answer as before it."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _check_phases(self) -> LoadShape:
        names = [phase.name for phase in self.phases]
        for place, phase in enumerate(self.phases):
            if phase.name in names[:place]:
                raise documents.located_error(f"two phases are called {phase.name!r}", ("phases", place, "name"))
            if phase.seconds is None and place < len(self.phases) - 1:
                raise documents.located_error(
                    f"phase {phase.name!r} needs `seconds`: only the last one may go on until all turns are called",
                    ("phases", place),
                )
            if phase.seconds is None and (phase.until is not None or not phase.load):
                raise documents.located_error(
                    f"phase {phase.name!r} has no `seconds`: it needs a steady `load` over 0", ("phases", place)
                )
        if not any(phase.load or phase.end_load for phase in self.phases):
            raise documents.located_error("no phase has a load over 0, so no call would be placed", ("phases",))
        if self.recovery_of is not None and self.recovery_of not in names[:-1]:
            hint = documents.suggest(self.recovery_of, names[:-1])
            raise documents.located_error(
                f"{self.recovery_of!r} is no phase that another one follows{hint}", ("recovery_of",)
            )
        if self.recovery_of is not None and self.recovery_of == names[0]:
            raise documents.located_error(
                f"{self.recovery_of!r} is the first phase: what counts as recovered is told by the answers before it",
                ("recovery_of",),
            )
        return self

    @property
    def is_steady(self) -> bool:
        """Whether its load is always that of the point, until all turns were called: a budget can be judged then."""
        return len(self.phases) == 1 and self.phases[0].seconds is None and self.phases[0].load == 1.0

    @property
    def seconds(self) -> float | None:
        """How long it lasts in all; None where that depends on the number of turns."""
        lengths = [phase.seconds for phase in self.phases]
        return None if None in lengths else sum(length or 0.0 for length in lengths)

    @property
    def highest(self) -> float:
        """The highest load, times that of the point."""
        return max(max(phase.load, phase.end_load) for phase in self.phases)

    def starts_s(self) -> tuple[float, ...]:
        """Return when each phase starts."""
        return (0.0, *accumulate(phase.seconds or 0.0 for phase in self.phases[:-1]))

    def find_phase(self, at_s: float) -> int:
        """Return the number of the phase at that moment; before the first it is the first, after the last the last."""
        return max([0, *(place for place, start_s in enumerate(self.starts_s()) if start_s <= at_s)])

    def load_at(self, at_s: float) -> float:
        """Return the load at that moment, times that of the point; before its start as at it, after its end too."""
        place = self.find_phase(at_s)
        phase = self.phases[place]
        if phase.seconds is None or phase.until is None:
            return phase.load
        share = min(1.0, max(0.0, (at_s - self.starts_s()[place]) / phase.seconds))
        return phase.load + share * (phase.until - phase.load)


def list_shapes() -> list[str]:
    """Return the names of the shapes that ship."""
    return documents.list_shipped(SHIPPED)


def load_shape(name_or_path: str) -> LoadShape:
    """Return the shape of that name, or the one in that file.

    Raises:
        ScenarioError: it is unknown or malformed.
    """
    path = documents.locate(name_or_path, SHIPPED, "load shape", ScenarioError)
    return documents.load(path, LoadShape, ScenarioError)
