"""A scenario file: YAML in, a frozen model out, every fault one line with file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.errors import ScenarioError

from turngap.scenario.line import CLEAN, Line
from turngap.scenario.turn import Turn

SUFFIX = ".scenario.yaml"


class Scenario(FrozenModel):
    """A scenario file."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=documents.NAME)
    description: str = ""
    seed: int = Field(1, ge=0)
    turns_per_call: Annotated[int, Field(ge=1)] | Literal["all"] = 1
    """One scored turn a call keeps turns independent; `all` makes one call of the whole list."""
    shuffle: Literal["turns", "calls"] = "turns"
    """What the seed shuffles: the turns before they are dealt out, or the calls that the list is cut into."""
    probe: bool = False
    """Hang up half a second after the answer begins: short calls, for gates."""
    gate: bool = False
    """True where a budget may be judged on it: distinct utterances, one scored turn a call."""
    simultaneous_calls: int = Field(1, ge=1, le=500)
    network: str | None = None
    """What is put between caller and agent: a network that ships, by name, or a file beside the scenario."""
    warm_up_turns: int = Field(2, ge=1)
    """At least one: the first call after the agent's start is cold and never scored."""
    line: Line = CLEAN
    hang_up: Literal["stop", "drop"] = "stop"
    """How a call ends: with a `stop` message, or with the socket gone."""
    agent_settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By a profile's name, what the scenario changes in it (`llm.max_tokens: 40`): what it can't do without."""
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

    @model_validator(mode="after")
    def _speech_over_the_agent_has_an_agent(self) -> Scenario:
        if all(turn.over_agent_ms is None for turn in self.turns):
            return self
        if self.turns_per_call != "all" and self.shuffle != "calls":
            raise ValueError("turns with `over_agent_ms` follow another's reply: they need `shuffle: calls`")
        for index in range(0, len(self.turns), self.call_size):
            if self.turns[index].over_agent_ms is not None:
                raise ValueError(
                    f"turn {self.turns[index].key!r} begins a call, and speaks over an agent that has not spoken; "
                    f"calls have {self.call_size} turns"
                )
        return self

    @model_validator(mode="after")
    def _twins_exist(self) -> Scenario:
        by_key = {turn.key: turn for turn in self.turns}
        for turn in self.turns:
            if turn.twin and (turn.twin not in by_key or by_key[turn.twin].noise is not None):
                what = "is noisy itself" if turn.twin in by_key else "is no turn of this scenario"
                raise ValueError(f"turn {turn.key!r}: its twin {turn.twin!r} {what}")
        return self

    def overrides(self, profile: str) -> tuple[str, ...]:
        """What it changes in that profile, as `section.key=value`."""
        changed = self.agent_settings.get(profile, {})
        return tuple(f"{key}={json.dumps(value)}" for key, value in changed.items())

    @property
    def call_size(self) -> int:
        """Turns a call; the last call may have fewer."""
        return len(self.turns) if self.turns_per_call == "all" else self.turns_per_call


def load(path: Path) -> Scenario:
    """Read a scenario; audio paths become absolute.

    Raises:
        ScenarioError: missing, malformed or empty; the message names file and line.
    """
    return with_audio_from(documents.load(path, Scenario, ScenarioError), path.parent, str(path))


def with_audio_from(scenario: Scenario, folder: Path, where: str) -> Scenario:
    """The scenario with absolute audio paths; relative ones are taken from `folder`. Messages begin with `where`.

    Raises:
        ScenarioError: an audio file is missing.
    """
    turns = tuple(
        # The name stays as the scenario has it: results are to be the same wherever the scenario lies.
        turn
        if turn.audio is None
        else turn.model_copy(update={"audio": (folder / turn.audio).resolve(), "id": turn.key})
        for turn in scenario.turns
    )
    for turn in turns:
        if turn.audio is not None and not turn.audio.is_file():
            raise ScenarioError(f"{where}: turn {turn.key!r}: no audio file {turn.audio}")
    return scenario.model_copy(update={"turns": turns})
