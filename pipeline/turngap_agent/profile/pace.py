"""How fast a turn is taken for over: the settings that `endpointing.pace` chooses by one name, and pauses as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from turngap_agent.documents import FrozenModel

PaceName = Literal["patient", "eager"]


class PauseLengths(FrozenModel):
    """How long a caller pauses inside a turn: log-normal, and this caller's own pauses move its median.

    A fit writes it: `python -m benchmarks.fit_turns`.
    """

    median_ms: float = Field(500, gt=0)
    """Of a caller of whom nothing is known yet."""
    spread: float = Field(0.5, gt=0, le=3)
    """Standard deviation of the natural logarithm."""
    weight: float = Field(2.0, ge=0)
    """For so many of the caller's own pauses the median counts: the more, the slower the caller's own take over."""


class Pace(FrozenModel):
    """What a pace sets: settings of `endpointing`, and how softly a cut-off lands; what is left out stays as it is."""

    min_silence_ms: int | None = Field(None, ge=32, le=5000)
    max_silence_ms: int | None = Field(None, ge=32, le=10_000)
    provisional_ms: int | None = Field(None, ge=32, le=1000)
    cut_off_rate: float | None = Field(None, gt=0, lt=1)
    landing_ms: int | None = Field(None, ge=0, le=2000)
    """`barge_in.landing_ms`: who answers sooner gives way for longer."""

    def values(self) -> dict[str, Any]:
        """Return the settings that it sets."""
        return self.model_dump(exclude_none=True)


SECTION_KEYS = frozenset(Pace.model_fields) - {"landing_ms"}
"""What a pace sets in the section `endpointing` itself."""


def expand(data: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the section `endpointing` with what its pace sets, and the keys that came from the pace alone.

    A key that the section gives itself counts before the pace's. What is malformed stays, for the validation to name.
    """
    pace, paces = data.get("pace"), data.get("paces")
    chosen = paces.get(pace) if isinstance(paces, Mapping) and isinstance(pace, str) else None
    if isinstance(chosen, Pace):
        chosen = chosen.values()
    if not isinstance(chosen, Mapping):
        return dict(data), frozenset()
    added = {key: value for key, value in chosen.items() if value is not None and key in SECTION_KEYS}
    added = {key: value for key, value in added.items() if key not in data}
    return {**data, **added}, frozenset(added)
