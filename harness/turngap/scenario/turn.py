"""One turn of a scenario: what the caller says or does, when, in what noise, and what the agent is expected to do."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.telephony.script import MAX_REPLY_TOKENS

VOICE_KEYS = ("prompt", "say", "audio", "excerpt", "sound", "dtmf", "silence_ms")
"""Each turn has exactly one of these."""
SPOKEN_KEYS = ("prompt", "say", "audio", "excerpt")
PAUSE_MS = 200
"""From this length on a gap inside an utterance counts as a pause; shorter gaps are normal in speech."""
LIMIT_AFTER_MS = 10_000

GapMs = Annotated[int, Field(ge=0, le=5000)]
Ms = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Expectation(StrEnum):
    """What the agent is expected to do about a turn."""

    RESPOND = "respond"
    """Answer after the end of speech."""
    WAIT = "wait"
    """Say nothing: the caller said no words."""
    STOP = "stop"
    """Yield to a barge-in, then answer it."""
    IGNORE = "ignore"
    """Continue its sentence and answer nothing: a backchannel or a cough."""
    LIMIT = "limit"
    """Interrupt a caller who does not stop, at the agent's own limit of a turn's length."""

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
    """Noise behind the caller, from the start of the turn's pause to the turn's end."""

    kind: Literal["pink", "babble", "music", "line"]
    snr_db: float = Field(ge=-20, le=60)
    """Speech to noise over the utterance's active frames; without speech, relative to speech at -20 dBFS."""


class Excerpt(FrozenModel):
    """A turn inside a longer recording, whose end is known: as `corpus` makes them of a table's rows."""

    file: Path
    """The recording, relative to the scenario."""
    channel: int = Field(0, ge=0, le=1000)
    """Of several, the one that is heard."""
    start_ms: float = Field(ge=0, allow_inf_nan=False)
    end_ms: float = Field(gt=0, allow_inf_nan=False)
    """The end of the turn: t0."""
    uncertainty_ms: float = Field(50.0, ge=0, le=10_000, allow_inf_nan=False)
    """How far the true end may be from there, either way."""
    pauses_ms: tuple[tuple[float, float], ...] = ()
    """Pauses inside the turn: (start, end), from the recording's start."""
    label_source: Literal["hand", "aligned"] = "hand"
    """Who found the end: a person, or a program that aligned the words."""
    source: str = ""
    """Where the recording comes from, with its licence."""
    place: str = ""
    """For messages: file and line of the table that the turn was taken from."""

    @model_validator(mode="after")
    def _check_times(self) -> Excerpt:
        if self.end_ms <= self.start_ms:
            raise documents.located_error(f"must be after `start_ms`, {self.start_ms:g}", ("end_ms",))
        return self


class Turn(FrozenModel):
    """One turn; exactly one of `VOICE_KEYS` says what the caller is heard to say or do."""

    id: str = Field("", description="unique; made from the voice by default")
    prompt: str | tuple[str, ...] | None = None
    """The name of a recorded human prompt, or several that are joined into one utterance."""
    say: str | None = None
    """Words that the synthetic voice speaks."""
    audio: Path | None = None
    """An audio file, relative to the scenario."""
    excerpt: Excerpt | None = None
    """A stretch of a longer recording, whose end is known."""
    speech_ms: tuple[Ms, Ms] | None = None
    """Where the speech starts and ends in the file of `audio`; by default its label file says it, or its level."""
    pauses_ms: tuple[tuple[Ms, Ms], ...] = ()
    """Pauses inside the speech of `speech_ms`: (start, end), from the file's start."""
    label_uncertainty_ms: float | None = Field(None, ge=0, le=1000, allow_inf_nan=False)
    """How far the end of a label by hand may be off, either way; default 50."""
    sound: Literal["cough", "mm-hm"] | None = None
    """A synthesised sound without words."""
    dtmf: str | None = Field(None, pattern=r"^[0-9*#A-D]{1,32}$")
    """Keys the caller presses."""
    dtmf_as: Literal["event", "tone"] = "event"
    """How keys reach the agent: as `dtmf` messages, or as tones in the audio."""
    silence_ms: int | None = Field(None, ge=100, le=120_000)
    """Silence of this length."""
    expect: str | None = None
    """The words; by default the prompt's own transcript, or `say`."""
    gaps_ms: GapMs | tuple[GapMs, ...] | None = None
    """Silence between the parts of a joined `prompt`: one value, or one a gap; by default 120-160 ms, by the seed."""
    noise: Noise | None = None
    twin: str = ""
    """The `id` of the turn that says the same without noise."""
    agent: Expectation = Expectation.RESPOND
    over_agent_ms: int | None = Field(None, ge=0, le=30_000)
    """Speak once the agent's reply has been audible for this long, instead of after its end."""
    pause_ms: int = Field(600, ge=0, le=60_000)
    """Comfort noise before the turn: after the stream's start, or after the end of the agent's reply."""
    stratum: str = "sentence"
    wer_limit: float = Field(0.34, ge=0)
    reply_tokens: int = Field(14, ge=1, le=MAX_REPLY_TOKENS)
    """The length of the reply if the agent's weights are random."""
    answer_within_ms: int = Field(6000, ge=100, le=60_000)
    limit_after_ms: int = Field(LIMIT_AFTER_MS, ge=1000, le=600_000)
    """For `agent: limit`: an agent that speaks sooner after the caller's start has cut the caller off."""

    @field_validator("dtmf", mode="before")
    @classmethod
    def _check_keys(cls, value: object) -> object:
        if type(value) is int:
            raise ValueError('put keys in quotes, as in "012": without quotes YAML reads a number')
        return value

    @model_validator(mode="after")
    def _check_voice(self) -> Turn:
        voices = [name for name in VOICE_KEYS if getattr(self, name) is not None]
        if len(voices) != 1:
            raise ValueError(
                f"a turn needs exactly one of {', '.join(VOICE_KEYS)}; it has {', '.join(voices) or 'none'}"
            )
        if self.prompt == () or self.prompt == "" or (self.say is not None and not self.say.strip()):
            raise documents.located_error("must not be empty", (voices[0],))
        return self

    @model_validator(mode="after")
    def _check_gaps(self) -> Turn:
        parts = len(self.prompt) if isinstance(self.prompt, tuple) else 1
        if self.gaps_ms is not None and parts < 2:
            raise ValueError("`gaps_ms` needs a `prompt` that is a list: gaps are between its parts")
        if isinstance(self.gaps_ms, tuple) and len(self.gaps_ms) != parts - 1:
            raise ValueError(f"`gaps_ms` lists {len(self.gaps_ms)} gaps for {parts} parts; it needs {parts - 1}")
        return self

    @model_validator(mode="after")
    def _check_label(self) -> Turn:
        given = [name for name in ("speech_ms", "pauses_ms", "label_uncertainty_ms") if getattr(self, name)]
        if given and self.audio is None:
            raise documents.located_error("is about a recording; this turn has no `audio`", (given[0],))
        if self.speech_ms is None:
            if self.pauses_ms:
                raise documents.located_error("needs `speech_ms`: pauses are inside it", ("pauses_ms",))
            return self
        start, end = self.speech_ms
        if end <= start:
            raise documents.located_error(f"its end, {end:g}, must be after its start, {start:g}", ("speech_ms",))
        at = start
        for index, (first, beyond) in enumerate(self.pauses_ms):
            place = ("pauses_ms", index)
            if beyond <= first:
                raise documents.located_error(f"its end, {beyond:g}, must be after its start, {first:g}", place)
            if not start < first or not beyond < end:
                raise documents.located_error(f"must be inside the speech, {start:g} to {end:g} ms", place)
            if index and first <= at:
                raise documents.located_error(f"must start after the pause before it has ended, at {at:g} ms", place)
            at = beyond
        return self

    @model_validator(mode="after")
    def _check_expectation(self) -> Turn:
        if self.agent.speaks_over_agent and self.over_agent_ms is None:
            raise ValueError(f"`agent: {self.agent}` needs `over_agent_ms`: it is about speech over the agent")
        if self.agent in (Expectation.WAIT, Expectation.LIMIT) and self.over_agent_ms is not None:
            raise ValueError(
                f"`agent: {self.agent}` cannot have `over_agent_ms`: it is not about speech over the agent"
            )
        if self.agent is Expectation.WAIT and self.has_words:
            raise ValueError("`agent: wait` is for turns without words; remove it, because spoken words need an answer")
        if self.agent is not Expectation.LIMIT and self.limit_after_ms != LIMIT_AFTER_MS:
            raise ValueError("`limit_after_ms` needs `agent: limit`: no other turn has such a limit")
        if not self.agent.needs_silence and not self.has_words:
            expectation = Expectation.WAIT if self.over_agent_ms is None else Expectation.IGNORE
            raise ValueError(f"the turn has no words that could be answered: set `agent: {expectation}`")
        if self.twin and self.noise is None:
            raise ValueError("`twin` is for noisy turns and names the clean one; this turn has no `noise`")
        return self

    @property
    def has_words(self) -> bool:
        """Whether the caller says words."""
        return any(getattr(self, name) is not None for name in SPOKEN_KEYS)

    @property
    def condition(self) -> str:
        """The noise in words, "pink 10 dB"; "" without noise."""
        return "" if self.noise is None else f"{self.noise.kind} {self.noise.snr_db:g} dB"

    @property
    def all_gaps_ms(self) -> tuple[int, ...] | None:
        """One value for each gap; None if the seed determines them."""
        if self.gaps_ms is None or not isinstance(self.prompt, tuple):
            return None
        return self.gaps_ms if isinstance(self.gaps_ms, tuple) else (self.gaps_ms,) * (len(self.prompt) - 1)

    @property
    def key(self) -> str:
        """`id`, or a name made from the voice and its noise."""
        if self.id:
            return self.id
        return f"{self._voice_name} ({self.condition})" if self.noise else self._voice_name

    @property
    def _voice_name(self) -> str:
        if self.prompt is not None:
            return self.prompt if isinstance(self.prompt, str) else "+".join(self.prompt)
        if self.excerpt is not None:
            return f"{self.excerpt.file.name}:{self.excerpt.start_ms:g}"
        name = next(name for name in VOICE_KEYS if getattr(self, name) is not None)
        return f"{name}:{getattr(self, name)}"
