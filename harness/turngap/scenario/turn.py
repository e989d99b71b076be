"""One turn of a scenario: what the caller says or does, over whom, in what noise, and what is expected of the agent."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from turngap_agent.documents import FrozenModel
from turngap_agent.telephony.script import MAX_REPLY_TOKENS

VOICES = ("prompt", "say", "audio", "sound", "dtmf", "silence_ms")
PAUSE_MS = 200
"""A gap inside an utterance counts as a pause from here on; shorter ones are how people speak."""
SPOKEN = ("prompt", "say", "audio")
LIMIT_AFTER_MS = 10_000

Gap = Annotated[int, Field(ge=0, le=5000)]


class Expectation(StrEnum):
    """What the agent is to do about a turn."""

    RESPOND = "respond"
    """Answer after the end of speech."""
    WAIT = "wait"
    """Say nothing: nobody spoke."""
    STOP = "stop"
    """Yield to a barge-in, then answer it."""
    IGNORE = "ignore"
    """Go on with its sentence and answer nothing: a backchannel, a cough."""
    LIMIT = "limit"
    """Speak up while the caller still talks, at its limit of a turn's length: this one does not stop."""

    @property
    def needs_answer(self) -> bool:
        """Whether an answer must follow the end of speech; only such turns have a gap and stages."""
        return self in (Expectation.RESPOND, Expectation.STOP)

    @property
    def needs_silence(self) -> bool:
        """Whether the agent must not answer at all."""
        return self in (Expectation.WAIT, Expectation.IGNORE)

    @property
    def speaks_over_agent(self) -> bool:
        """Whether the caller is to speak while the agent does."""
        return self in (Expectation.STOP, Expectation.IGNORE)


class Noise(FrozenModel):
    """What sounds behind the caller from the turn's pause to its end."""

    kind: Literal["pink", "babble", "music", "line"]
    snr_db: float = Field(ge=-20, le=60)
    """Speech over noise, over the utterance's active frames; without speech, of speech at -20 dBFS."""


class Turn(FrozenModel):
    """One thing a caller says; exactly one of `VOICES` gives what is heard of them."""

    id: str = Field("", description="unique; made from the voice when left out")
    prompt: str | tuple[str, ...] | None = None
    """A recorded human prompt by name, or several to be joined into one utterance."""
    say: str | None = None
    """Words for the synthetic voice."""
    audio: Path | None = None
    """A WAV or FLAC file, relative to the scenario."""
    sound: Literal["cough", "mm-hm"] | None = None
    """A sound that is no word, synthesised."""
    dtmf: str | None = Field(None, pattern=r"^[0-9*#A-D]{1,32}$")
    """Keys the caller presses."""
    dtmf_as: Literal["event", "tone"] = "event"
    """How they reach the agent: as `dtmf` messages, or as tones in the audio."""
    silence_ms: int | None = Field(None, ge=100, le=120_000)
    """No voice for so long."""
    expect: str | None = None
    """The words; taken from the prompt's own transcript or from `say` when left out."""
    gaps_ms: Gap | tuple[Gap, ...] | None = None
    """Silence between the parts of a joined `prompt`, one for all or one each; 120-160 ms by the seed when left out."""
    noise: Noise | None = None
    twin: str = ""
    """The turn that says the same without noise."""
    agent: Expectation = Expectation.RESPOND
    over_agent_ms: int | None = Field(None, ge=0, le=30_000)
    """Speak once the agent's reply has been audible for so long, instead of after its end."""
    pause_ms: int = Field(600, ge=0, le=60_000)
    """Comfort noise before it: from the stream's start, or from the end of the agent's reply."""
    stratum: str = "sentence"
    wer_limit: float = Field(0.34, ge=0)
    reply_tokens: int = Field(14, ge=1, le=MAX_REPLY_TOKENS)
    """How long the reply is where the agent's weights are random."""
    answer_within_ms: int = Field(6000, ge=100, le=60_000)
    limit_after_ms: int = Field(LIMIT_AFTER_MS, ge=1000, le=600_000)
    """For `agent: limit`: who speaks up sooner after the caller began has cut in."""

    @field_validator("dtmf", mode="before")
    @classmethod
    def _keys(cls, given: object) -> object:
        if type(given) is int:
            raise ValueError('keys stand in quotes, as in "012": YAML would make a number of them')
        return given

    @model_validator(mode="after")
    def _one_voice(self) -> Turn:
        given = [name for name in VOICES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a turn needs exactly one of {', '.join(VOICES)}; it has {', '.join(given) or 'none'}")
        if self.prompt == () or self.prompt == "" or (self.say is not None and not self.say.strip()):
            raise ValueError(f"`{given[0]}` is empty")
        return self

    @model_validator(mode="after")
    def _gaps_fit(self) -> Turn:
        parts = len(self.prompt) if isinstance(self.prompt, tuple) else 1
        if self.gaps_ms is not None and parts < 2:
            raise ValueError("`gaps_ms` needs a `prompt` that is a list: gaps lie between its parts")
        if isinstance(self.gaps_ms, tuple) and len(self.gaps_ms) != parts - 1:
            raise ValueError(f"`gaps_ms` has {len(self.gaps_ms)} gaps for {parts} parts; {parts - 1} are needed")
        return self

    @model_validator(mode="after")
    def _expected_of_it(self) -> Turn:
        over = self.agent in (Expectation.STOP, Expectation.IGNORE)
        if over and self.over_agent_ms is None:
            raise ValueError(f"`agent: {self.agent}` needs `over_agent_ms`: it is about speech over the agent")
        if self.agent is Expectation.WAIT and self.over_agent_ms is not None:
            raise ValueError("`agent: wait` is about a silent line: it has no `over_agent_ms`")
        if self.agent is Expectation.LIMIT and self.over_agent_ms is not None:
            raise ValueError("`agent: limit` is about a caller who does not stop: it has no `over_agent_ms`")
        if self.agent is Expectation.WAIT and self.has_words:
            raise ValueError("`agent: wait` is for turns without a word; one that is spoken is to be answered")
        if self.agent is not Expectation.LIMIT and self.limit_after_ms != LIMIT_AFTER_MS:
            raise ValueError("`limit_after_ms` needs `agent: limit`: no other turn has such a limit")
        answered = self.agent in (Expectation.RESPOND, Expectation.STOP, Expectation.LIMIT)
        if answered and not self.has_words:
            raise ValueError(
                f"nothing is said that could be answered; `agent: {self.agent}` needs to be wait or ignore"
            )
        if self.twin and self.noise is None:
            raise ValueError("`twin` names a noisy turn's clean one; this turn has no `noise`")
        return self

    @property
    def has_words(self) -> bool:
        """Whether something is said, in words."""
        return any(getattr(self, name) is not None for name in SPOKEN)

    @property
    def condition(self) -> str:
        """The noise in words, "pink 10 dB"; "" where there is none."""
        return "" if self.noise is None else f"{self.noise.kind} {self.noise.snr_db:g} dB"

    @property
    def all_gaps_ms(self) -> tuple[int, ...] | None:
        """One gap for each joint; None where chance settles them."""
        if self.gaps_ms is None or not isinstance(self.prompt, tuple):
            return None
        return self.gaps_ms if isinstance(self.gaps_ms, tuple) else (self.gaps_ms,) * (len(self.prompt) - 1)

    @property
    def key(self) -> str:
        """`id`, or a name made from the voice and its noise."""
        if self.id:
            return self.id
        return f"{self._voice} ({self.condition})" if self.noise else self._voice

    @property
    def _voice(self) -> str:
        if self.prompt is not None:
            return self.prompt if isinstance(self.prompt, str) else "+".join(self.prompt)
        name = next(name for name in VOICES if getattr(self, name) is not None)
        return f"{name}:{getattr(self, name)}"
