"""A scenario file: YAML in, a frozen model out; every error is one line with file and line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator
from pydantic_core import PydanticCustomError
from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.errors import ScenarioError

from turngap.scenario.content import default_openings, split_words
from turngap.scenario.corpus_turns import CorpusTurns, draw_turns
from turngap.scenario.turn import Expectation, Turn

SUFFIX = ".scenario.yaml"


class Echo(FrozenModel):
    """The agent's audio, as played, in the caller's audio."""

    attenuation_db: float = Field(30.0, ge=0, le=60)
    delay_ms: int = Field(150, ge=0, le=1000)


class LineImpairments(FrozenModel):
    """Impairments of the caller's line, in the order in which they are applied; there are none by default."""

    level_db: float = Field(0.0, ge=-40, le=20)
    """Gain of the caller's side: voice, background noise, comfort noise."""
    echo: Echo | None = None
    noise_dbfs: float | None = Field(None, ge=-90, le=-20)
    """White noise of the line itself, added to everything."""
    dc_offset: float = Field(0.0, ge=-0.5, le=0.5)
    """As a part of full scale."""
    clip_dbfs: float | None = Field(None, ge=-40, le=0)
    """Peaks are clipped at this level."""
    loss_percent: float = Field(0.0, ge=0, le=50)
    """Frames that never arrive."""
    suppress_silence: bool = False
    """Send no frames while the caller is silent, as some carriers do."""


NO_IMPAIRMENTS = LineImpairments()


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a scenario was read. It is no part of the scenario's value: two scenarios may be equal without it."""

    path: Path | None = field(default=None, compare=False)
    keys: tuple[str, ...] = field(default=(), compare=False)
    """The keys of all turns in the file's order, then those of the lead-ins."""
    n_turns: int = field(default=0, compare=False)


class Scenario(FrozenModel):
    """A scenario file."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=documents.NAME)
    description: str = ""
    seed: int = Field(1, ge=0)
    turns_per_call: Annotated[int, Field(ge=1)] | Literal["all"] = 1
    """One scored turn a call keeps turns independent; `all` makes one call of the whole list."""
    shuffle: Literal["turns", "calls"] = "turns"
    """What the seed shuffles: the turns before they are assigned to calls, or the calls that the list is split into."""
    probe: bool = False
    """Hang up once the first content of the answer was heard: short calls, for gates."""
    gate: bool = False
    """True if a budget may be judged on it: distinct utterances, one scored turn a call."""
    simultaneous_calls: int = Field(1, ge=1, le=500)
    network: str | None = None
    """The network between caller and agent: the name of one that ships, or a file in the scenario's folder."""
    dialect: str | None = None
    """The wire format of an agent at a URL, if neither the command nor its webhook says it: `twilio`, `telnyx` ..."""
    spans: str | None = None
    """What the spans of an agent at a URL mean: a mapping that ships, by name, or a file in the scenario's folder."""
    warm_up_turns: int = Field(2, ge=1, le=1000)
    """At least one: the first call after the agent's start is cold and never scored."""
    line: LineImpairments = NO_IMPAIRMENTS
    contentless: tuple[str, ...] = Field(default_factory=default_openings)
    """Openings of a reply that are no answer, such as "um" or a bare "thank you,"; default: `contentless.yaml`."""
    hang_up: Literal["stop", "drop"] = "stop"
    """How a call ends: with a `stop` message, or with the socket dropped."""
    agent_settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By profile name, the settings that the scenario needs in that profile (`llm.max_tokens: 40`)."""
    depth: dict[Annotated[int, Field(ge=1, le=20)], Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """How often, relative to each other, the scored turn is the first of its call, the second, and so on; by default
    always the first. The turns before it are lead-ins."""
    lead_ins: tuple[Turn, ...] = ()
    """What callers say before a deeper scored turn; recorded, never scored."""
    corpus: CorpusTurns | None = None
    """A corpus of recorded turns: those that pass its filters are called beside `turns`."""
    turns: tuple[Turn, ...] = ()
    """At least one, unless `corpus` has them."""
    _source: _Source = PrivateAttr(default_factory=_Source)

    @field_validator("turns_per_call", mode="before")
    @classmethod
    def _check_turns_per_call(cls, value: object) -> object:
        if value != "all" and (type(value) is not int or value < 1):
            raise ValueError("must be a whole number, at least 1, or `all`")
        return value

    @field_validator("contentless")
    @classmethod
    def _check_contentless(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        wordless = next((entry for entry in entries if not split_words(entry)), None)
        if wordless is not None:
            raise ValueError(f"{wordless!r} has no words")
        return entries

    @model_validator(mode="after")
    def _check_turns(self) -> Scenario:
        if not self.turns and self.corpus is None:
            # The types that pydantic has for this, so that messages are those of any other list.
            if "turns" in self.model_fields_set:
                raise PydanticCustomError("too_short", "empty", {"min_length": 1, "location": ("turns",)})
            raise PydanticCustomError("missing", "missing", {"location": ("turns",)})
        keys: set[str] = set()
        for section, turns in (("turns", self.turns), ("lead_ins", self.lead_ins)):
            for index, turn in enumerate(turns):
                if turn.key in keys:
                    raise documents.located_error(
                        f"two turns have the name {turn.key!r}; give one of them its own `id`", (section, index)
                    )
                keys.add(turn.key)
        if self.gate and self.turns_per_call != 1:
            raise documents.located_error(
                "a gate needs `turns_per_call: 1`: turns of one call are not independent", ("turns_per_call",)
            )
        return self

    @model_validator(mode="after")
    def _check_depth(self) -> Scenario:
        if (self.depth or self.lead_ins) and self.turns_per_call != 1:
            raise documents.located_error(
                "`depth` and `lead_ins` need `turns_per_call: 1`: one turn of each call is scored", ("turns_per_call",)
            )
        needed = max(self.depth, default=1) - 1
        if needed > len(self.lead_ins):
            raise documents.located_error(
                f"a scored turn at depth {needed + 1} needs {needed} `lead_ins`; there are {len(self.lead_ins)}",
                ("depth",),
            )
        for index, turn in enumerate(self.lead_ins):
            if turn.agent is not Expectation.RESPOND or turn.over_agent_ms is not None:
                raise documents.located_error(
                    f"turn {turn.key!r} is a lead-in: it needs `agent: respond` and no `over_agent_ms`",
                    ("lead_ins", index),
                )
        return self

    @model_validator(mode="after")
    def _check_speech_over_the_agent(self) -> Scenario:
        if all(turn.over_agent_ms is None for turn in self.turns):
            return self
        if self.turns_per_call != "all" and self.shuffle != "calls":
            raise documents.located_error(
                "turns with `over_agent_ms` follow another turn's reply: set `shuffle: calls`", ("shuffle",)
            )
        for index in range(0, len(self.turns), self.call_size):
            if self.turns[index].over_agent_ms is not None:
                raise documents.located_error(
                    f"turn {self.turns[index].key!r} is the first of a call, so there is no reply to speak over; "
                    f"calls have {self.call_size} turns",
                    ("turns", index, "over_agent_ms"),
                )
        return self

    @model_validator(mode="after")
    def _check_twins(self) -> Scenario:
        by_key = {turn.key: turn for turn in self.turns}
        clean = [turn.key for turn in self.turns if turn.noise is None]
        for index, turn in enumerate(self.turns):
            if not turn.twin or turn.twin in clean:
                continue
            problem = "is noisy itself" if turn.twin in by_key else "is not a turn of this scenario"
            hint = documents.suggest(turn.twin, clean)
            message = f"turn {turn.key!r}: its twin {turn.twin!r} {problem}{hint}"
            raise documents.located_error(message, ("turns", index, "twin"))
        return self

    def overrides(self, profile: str) -> tuple[str, ...]:
        """Return the settings that the scenario needs in that profile, as `section.key=value`."""
        settings = self.agent_settings.get(profile, {})
        return tuple(f"{key}={json.dumps(value)}" for key, value in settings.items())

    @property
    def own_openings(self) -> bool:
        """Whether its list of openings that are no content is not the one that ships."""
        return set(self.contentless) != set(default_openings())

    @property
    def call_size(self) -> int:
        """Turns a call; the last call may have fewer."""
        return len(self.turns) if self.turns_per_call == "all" else self.turns_per_call

    def locate_turn(self, turn: Turn, *keys: str | int) -> str:
        """Return the place of a turn, or of the value at `keys` below it, for an error: "FILE:LINE: turn 'KEY'".

        A scenario that was not read from a file is named instead: "scenario 'NAME', turn 'KEY'".
        """
        path = self._source.path
        if path is None or turn.key not in self._source.keys or not path.is_file():
            return f"scenario {self.name!r}, turn {turn.key!r}"
        place = self._source.keys.index(turn.key)
        lead_in = place - self._source.n_turns
        section = ("turns", place) if lead_in < 0 else ("lead_ins", lead_in)
        line = documents.find_line(path, (*section, *keys))
        return f"{path}:{line}: turn {turn.key!r}"


def load_scenario_file(path: Path) -> Scenario:
    """Read a scenario; audio paths become absolute, and the turns of its corpus are added.

    Raises:
        ScenarioError: the file is missing or malformed, an audio file is missing (`scenario.audio`), or its corpus
            (`scenario.corpus`); the message names file and line.
    """
    scenario = documents.load(path, Scenario, ScenarioError)
    keys = tuple(turn.key for turn in (*scenario.turns, *scenario.lead_ins))
    scenario._source = _Source(path, keys, len(scenario.turns))
    return resolve_audio(scenario, path.parent)


def resolve_audio(scenario: Scenario, folder: Path) -> Scenario:
    """Return the scenario with absolute audio paths, and with the turns of its corpus after its own.

    Relative paths are relative to `folder`. The key `corpus` is None in what is returned: its turns are there.

    Raises:
        ScenarioError: an audio file is missing (`scenario.audio`), or the corpus can't be used (`scenario.corpus`).
    """
    # A turn's key keeps the path as it is written: results are the same wherever the scenario's file is.
    turns, lead_ins = (
        tuple(_resolve_turn(turn, folder) for turn in listed) for listed in (scenario.turns, scenario.lead_ins)
    )
    for turn in (*turns, *lead_ins):
        path = turn.audio if turn.excerpt is None else turn.excerpt.file
        if path is not None and not path.is_file():
            key = "audio" if turn.excerpt is None else "excerpt"
            raise ScenarioError(
                f"{scenario.locate_turn(turn, key)}: {describe_missing_file(path)}", code="scenario.audio"
            )
    return scenario.model_copy(
        update={"turns": (*turns, *_draw_turns(scenario, folder)), "lead_ins": lead_ins, "corpus": None}
    )


def _resolve_turn(turn: Turn, folder: Path) -> Turn:
    if turn.audio is not None:
        return turn.model_copy(update={"audio": (folder / turn.audio).resolve(), "id": turn.key})
    if turn.excerpt is not None:
        located = turn.excerpt.model_copy(update={"file": (folder / turn.excerpt.file).resolve()})
        return turn.model_copy(update={"excerpt": located, "id": turn.key})
    return turn


def _draw_turns(scenario: Scenario, folder: Path) -> tuple[Turn, ...]:
    if scenario.corpus is None:
        return ()
    path = scenario._source.path
    place = f"scenario {scenario.name!r}" if path is None else f"{path}:{documents.find_line(path, ('corpus',))}"
    try:
        drawn = draw_turns(scenario.corpus, folder)
    except ScenarioError as error:
        raise ScenarioError(
            "\n".join(f"{place}: `corpus`: {line}" for line in str(error).splitlines()), code=error.code
        ) from None
    taken = {turn.key for turn in (*scenario.turns, *scenario.lead_ins)}
    twice = next((turn.key for turn in drawn if turn.key in taken), None)
    if twice is not None:
        raise ScenarioError(
            f"{place}: `corpus`: its turn {twice!r} has the name of one of `turns`; give that one its own `id`",
            code="scenario.corpus",
        )
    return drawn


def describe_missing_file(path: Path) -> str:
    """Return why `path` is not a file that can be read: no folder, no file (with the nearest name there), a folder."""
    if path.is_dir():
        return f"{path} is a folder, not a file"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    names = [file.name for file in path.parent.iterdir() if file.is_file()]
    return f"there is no file {path}{documents.suggest(path.name, names)}"
