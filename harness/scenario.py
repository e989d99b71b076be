"""Scenarios: what callers say, in which calls, and what is expected of each turn. YAML in, frozen models out."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline import documents
from pipeline.errors import ScenarioError

SUFFIX = ".scenario.yaml"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Turn(_Model):
    """One thing a caller says; exactly one of `prompt`, `say` and `audio` gives the voice."""

    id: str = Field("", description="unique; made from the voice when left out")
    prompt: str | tuple[str, ...] | None = None
    """A recorded human prompt by name, or several to be joined into one utterance."""
    say: str | None = None
    """Words for the synthetic voice."""
    audio: Path | None = None
    """A WAV or FLAC file, relative to the scenario."""
    expect: str | None = None
    """The words; taken from the prompt's own transcript or from `say` when left out."""
    pause_ms: int = Field(600, ge=0, le=60_000)
    """Comfort noise before it: from the stream's start, or from the end of the agent's reply."""
    stratum: str = "sentence"
    wer_limit: float = Field(0.34, ge=0)
    answer_within_ms: int = Field(6000, ge=100, le=60_000)

    @model_validator(mode="after")
    def _one_voice(self) -> Turn:
        given = [name for name in ("prompt", "say", "audio") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a turn needs exactly one of prompt, say, audio; it has {', '.join(given) or 'none'}")
        if self.prompt == () or self.prompt == "" or (self.say is not None and not self.say.strip()):
            raise ValueError(f"`{given[0]}` is empty")
        return self

    @property
    def key(self) -> str:
        """`id`, or a name made from the voice."""
        if self.id:
            return self.id
        if self.prompt is not None:
            return self.prompt if isinstance(self.prompt, str) else "+".join(self.prompt)
        return f"audio:{self.audio}" if self.audio is not None else f"say:{self.say}"


class Scenario(_Model):
    """A scenario file."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=documents.NAME)
    description: str = ""
    seed: int = Field(1, ge=0)
    turns_per_call: Annotated[int, Field(ge=1)] | Literal["all"] = 1
    """One scored turn a call keeps turns independent; `all` makes one call of the whole list."""
    probe: bool = False
    """Hang up half a second after the answer begins: short calls, for gates."""
    gate: bool = False
    """True where a budget may be judged on it: distinct utterances, one scored turn a call."""
    simultaneous_calls: int = Field(1, ge=1, le=500)
    warm_up_turns: int = Field(2, ge=1)
    """At least one: the first call after the agent's start is cold and never scored."""
    turns: tuple[Turn, ...] = Field(min_length=1)

    @field_validator("turns_per_call", mode="before")
    @classmethod
    def _some_turns(cls, given: object) -> object:
        if given != "all" and (type(given) is not int or given < 1):
            raise ValueError("needs a whole number, at least 1, or `all`")
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        keys = [turn.key for turn in self.turns]
        double = next((key for key in keys if keys.count(key) > 1), None)
        if double is not None:
            raise ValueError(f"two turns are called {double!r}; give one of them its own `id`")
        if self.gate and self.turns_per_call != 1:
            raise ValueError("a gate needs `turns_per_call: 1`: turns of one call are not independent")
        return self


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call to be placed."""

    index: int
    turns: tuple[Turn, ...]
    probe: bool
    warm_up: bool = False
    on_grid: bool = False
    """Every utterance ends with a frame, where chance would put its end anywhere in one; for calibration."""


def load(path: Path) -> Scenario:
    """Read a scenario; audio paths become absolute.

    Raises:
        ScenarioError: missing, malformed or empty; the message names file and line.
    """
    scenario = documents.load(path, Scenario, ScenarioError)
    turns = tuple(
        turn if turn.audio is None else turn.model_copy(update={"audio": (path.parent / turn.audio).resolve()})
        for turn in scenario.turns
    )
    for turn in turns:
        if turn.audio is not None and not turn.audio.is_file():
            raise ScenarioError(f"{path}: turn {turn.key!r}: no audio file {turn.audio}")
    return scenario.model_copy(update={"turns": turns})


def plan(scenario: Scenario, *, seed: int | None = None, n_turns: int | None = None) -> tuple[PlannedCall, ...]:
    """The calls in their seeded order; `warm_up_turns` one-turn calls come first and repeat utterances of the list.

    `n_turns` takes the first n of the seeded order, and goes round again where n is larger than the list (which makes
    the corpus repeat itself: such a run is not gated).

    Raises:
        ScenarioError: `n_turns` is not positive.
    """
    if n_turns is not None and n_turns < 1:
        raise ScenarioError(f"--turns {n_turns}: at least 1 is needed")
    rng = random.Random(scenario.seed if seed is None else seed)
    order = list(scenario.turns)
    if scenario.turns_per_call != "all":
        rng.shuffle(order)
    wanted = len(order) if n_turns is None else n_turns
    dealt = [order[index % len(order)] for index in range(wanted)]
    size = len(order) if scenario.turns_per_call == "all" else scenario.turns_per_call
    calls = [
        PlannedCall(index=index, turns=(dealt[-1 - index % len(dealt)],), probe=True, warm_up=True)
        for index in range(scenario.warm_up_turns)
    ]
    for start in range(0, len(dealt), size):
        calls.append(PlannedCall(len(calls), tuple(dealt[start : start + size]), scenario.probe))
    return tuple(calls)
