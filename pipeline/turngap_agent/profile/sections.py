"""The sections of a profile that are not an engine's: endpointing, barge-in, GPU, network, limits, price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from turngap_agent.documents import FrozenModel
from turngap_agent.engines import TurnSettings
from turngap_agent.engines.section import Section
from turngap_agent.profile.pace import SECTION_KEYS, Pace, PaceName, PauseLengths, expand

Percentage = Annotated[int | None, Field(ge=1, le=100)]
Delay = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]


class EndpointingSettings(FrozenModel):
    """When the caller's turn ends."""

    policy: Literal["silence", "smart_turn", "speculative"] = "silence"
    """`silence`: after `min_silence_ms`. `smart_turn`: the more complete the turn sounds, the sooner. `speculative`:
    the same, and work begins at `provisional_ms`, before the end is certain."""
    min_silence_ms: int = Field(300, ge=32, le=5000)
    """Silence after speech that ends the turn; for `smart_turn` and `speculative`: of a turn that sounds complete."""
    max_silence_ms: int = Field(800, ge=32, le=10_000)
    """Silence that ends a turn that does not sound complete, or that the turn model has not judged yet."""
    pace: PaceName | None = None
    """The one key for patience: `paces` says which settings it sets. One that is given beside it counts before it."""
    paces: dict[PaceName, Pace] = Field(default_factory=dict)
    cut_off_rate: float | None = Field(None, gt=0, lt=1)
    """How many cut-offs are taken for one right answer: from the turn model's probability and the caller's pauses so
    far follows the silence that ends the turn, between the shortest and the longest. null: `threshold` and `doubt` say
    it."""
    pauses: PauseLengths = PauseLengths()
    """With `cut_off_rate`: how long callers pause."""
    speculate: Literal["none", "transcription", "generation", "synthesis"] = "synthesis"
    """The last stage that `speculative` runs before the end is certain; later stages wait for the confirmation."""
    provisional_ms: int = Field(96, ge=32, le=1000)
    """The short silence at which the turn model judges the turn, and `speculative` begins to work."""
    early_ms_per_s: float = Field(0.0, ge=0, le=500)
    """On a long turn that is sooner, as its transcription takes longer: by so much for each second over two, but at 64
    ms of silence or `provisional_ms` at the soonest."""
    threshold: float = Field(0.9, gt=0, le=1)
    """From this probability on a turn sounds complete."""
    doubt: float = Field(0.5, ge=0, lt=1)
    """Up to this one it does not; in between, the silence that ends the turn falls from the longest to the shortest."""
    drop_db: float | None = Field(40.0, gt=0)
    """For `smart_turn` and `speculative`: a window this far below the level of the turn's speech is silence, even if
    the detector finds speech in it; null: the detector alone decides."""
    floor_db: float | None = Field(3.0, ge=0, le=20)
    """With `drop_db`: a window at most this far above the noise floor of the caller's line is silence too, so that an
    end on a noisy line is heard as soon as on a clean one; null: only `drop_db` counts."""
    noise_ms: int = Field(96, ge=0, le=1000)
    """With `drop_db`: this much more silence confirms an end on a line that never becomes quiet. Noise hides how speech
    dies away, so the detector loses it sooner."""
    model: Annotated[TurnSettings, Section("turn")] | None = Field(
        default_factory=lambda: {"engine": "smart_turn"}, validate_default=True
    )
    """Judges whether a turn sounds complete; not loaded for `silence`. null: `min_silence_ms` ends every turn."""
    speech_probability: float = Field(0.5, gt=0, lt=1)
    silence_probability: float = Field(0.35, gt=0, lt=1)
    """Hysteresis: speech begins above `speech_probability` and lasts until it falls below this."""
    min_speech_ms: int = Field(96, ge=32)
    """Shorter bursts are not speech."""
    pre_roll_ms: int = Field(256, ge=0)
    """This much audio before the detected start is transcribed too."""
    max_turn_ms: int = Field(30_000, ge=1000)
    """A caller who talks longer is answered anyway."""

    _from_pace: frozenset[str] = PrivateAttr(frozenset())

    @property
    def left_to_pace(self) -> frozenset[str]:
        """The keys that a pace may set, and that the section does not give itself."""
        return SECTION_KEYS - (self.model_fields_set - self._from_pace)

    @property
    def pace_landing_ms(self) -> int | None:
        """The `landing_ms` of the pace that is set; None without one."""
        chosen = self.paces.get(self.pace) if self.pace is not None else None
        return None if chosen is None else chosen.landing_ms

    @model_validator(mode="wrap")
    @classmethod
    def _set_pace(cls, data: Any, handler: ModelWrapValidatorHandler[EndpointingSettings]) -> EndpointingSettings:
        if not isinstance(data, Mapping):
            return handler(data)
        expanded, keys = expand(data)
        settings = handler(expanded)
        settings._from_pace = keys
        return settings

    @model_validator(mode="after")
    def _check_pace(self) -> EndpointingSettings:
        if self.pace is not None and self.pace not in self.paces:
            known = ", ".join(self.paces) or "none"
            raise ValueError(
                f"endpointing.pace is {self.pace}, and `paces` has {known}; add it there, or set pace: null"
            )
        reads = self.model is not None and self.model.reads_words and self.policy != "silence"
        if self.model is not None and reads and (self.policy == "smart_turn" or self.speculate == "none"):
            raise ValueError(
                f"endpointing.model {self.model.engine} reads the transcript, which exists at a pause only with "
                "policy: speculative and speculate: transcription or more; set these, or model: null"
            )
        return self

    @model_validator(mode="after")
    def _check_order(self) -> EndpointingSettings:
        if self.policy != "silence":
            if not self.provisional_ms <= self.min_silence_ms <= self.max_silence_ms:
                raise ValueError(
                    f"endpointing needs provisional_ms <= min_silence_ms <= max_silence_ms; it has "
                    f"{self.provisional_ms}, {self.min_silence_ms}, {self.max_silence_ms}"
                )
            if self.doubt >= self.threshold:
                raise ValueError(f"endpointing needs doubt < threshold; it has {self.doubt:g}, {self.threshold:g}")
        return self


class BargeInSettings(FrozenModel):
    """What the agent does when the caller is heard over it: when it falls silent, resumes, or yields."""

    pause_ms: int = Field(64, ge=32, le=1000)
    """This much voice over the agent silences it. Nothing is lost by that, so it may be short."""
    sure_probability: float = Field(0.8, gt=0, le=1)
    """One window (32 ms) with at least this probability of speech silences it too. 1: only one that is certain."""
    backchannel_ms: int = Field(576, ge=32, le=5000)
    """Voice of this length ends the agent's turn; less is an "mm-hm" or a cough, and the agent resumes. It is measured
    by the detector, which makes a sound longer: Silero by up to two windows."""
    go_on_ms: int = Field(256, ge=32, le=2000)
    """Silence after a backchannel before the agent resumes."""
    landing_ms: int | None = Field(None, ge=0, le=2000)
    """A voice that starts within this time after the reply's first audio is no reaction to it: the caller had only
    paused. The agent gives way, and answers the whole turn. 0: only a voice that started before the reply counts so;
    null: as `endpointing.pace` says, or else 300. Add the line's round trip on a long line."""
    tail_ms: int = Field(200, ge=0, le=2000)
    """With no more than this left of a complete reply, the caller does not interrupt it: the voice is the next turn."""
    echo_below_db: float = Field(20.0, ge=0, le=90)
    """Sound at least this far below what the agent has just played is taken for its echo. 90: none is."""
    echo_within_ms: int = Field(500, ge=0, le=2000)
    """An echo arrives at most this long after it was sent."""
    limit_preface: str = "I am sorry to interrupt you."
    """Said before the reply to a caller who was still talking at `endpointing.max_turn_ms`; may be empty."""

    @model_validator(mode="after")
    def _check_backchannel(self) -> BargeInSettings:
        if self.backchannel_ms < self.pause_ms:
            raise ValueError(f"backchannel_ms ({self.backchannel_ms}) is below pause_ms ({self.pause_ms})")
        return self


class GpuSettings(FrozenModel):
    """The one GPU that all engines with `device: cuda` use, and how the agent's processes share it."""

    device: Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=r"^(GPU|MIG)-[0-9A-Za-z/-]+$")] | None = None
    """An index into the GPUs that CUDA_VISIBLE_DEVICES shows, in nvidia-smi's order, or the UUID of a GPU or a MIG
    slice; null: the first."""
    mps: bool = False
    """Start CUDA's Multi-Process Service, so that the work of the agent's process and of vLLM's runs at the same time.
    Without it the two take turns."""
    agent_active_thread_pct: Percentage = None
    """Share of the GPU's threads that the agent's process (speech in and out) may use under MPS; null: all."""
    llm_active_thread_pct: Percentage = None
    """The same for vLLM."""
    llm_mps_priority: Literal["normal", "below_normal"] = "below_normal"
    """vLLM's priority under MPS, beside the agent's: speech is needed within 80 ms, the next token is not."""

    @model_validator(mode="after")
    def _check_mps(self) -> GpuSettings:
        for name in ("agent_active_thread_pct", "llm_active_thread_pct"):
            if getattr(self, name) is not None and not self.mps:
                raise ValueError(f"`{name}` needs MPS: set `mps: true` too, or leave it out")
        return self


MOST_SPREAD = 10_000
"""A wider log-normal distribution has draws that are not finite."""


class Spread(FrozenModel):
    """A delay that differs from call to call: log-normal, given by its median and its 95th percentile."""

    median_ms: Delay
    p95_ms: Delay

    @model_validator(mode="after")
    def _check_order(self) -> Spread:
        if self.p95_ms < self.median_ms:
            raise ValueError(f"`p95_ms` {self.p95_ms:g} is under `median_ms` {self.median_ms:g}")
        if self.median_ms == 0 < self.p95_ms:
            raise ValueError("`median_ms` must be over 0 where `p95_ms` is: a log-normal delay is never 0")
        if self.p95_ms > MOST_SPREAD * self.median_ms:
            raise ValueError(f"`p95_ms` is over {MOST_SPREAD:,} times `median_ms`: no line is so uneven")
        return self


def _spread_of_number(value: object) -> object:
    return {"median_ms": value, "p95_ms": value} if isinstance(value, int | float) else value


Leg = Annotated[Spread, BeforeValidator(_spread_of_number)]
"""One part of the way: a spread, or in a file a number, which is a fixed delay in ms."""
NO_DELAY = Spread(median_ms=0, p95_ms=0)


class NetworkModel(FrozenModel):
    """The delay that the telephone network adds at the caller's ear: a preset, a live run, or legs that add up.

    Without any of them it is the preset `twilio-edge`.
    """

    preset: str = ""
    """The name of a preset that ships with the instrument, or a file of the same form."""
    live_run: str = ""
    """The folder of a live run: its calls' measured delays."""
    in_ms: Leg | None = None
    """The caller's voice to the agent's media edge. Legs that are not given are 0."""
    out_ms: Leg | None = None
    """The agent's voice from the media edge to the caller."""
    buffering_ms: Leg | None = None
    """Jitter buffers."""
    decode_ms: Leg | None = None

    @property
    def has_legs(self) -> bool:
        """Whether the delay is given leg by leg."""
        return any(leg is not None for leg in (self.in_ms, self.out_ms, self.buffering_ms, self.decode_ms))

    @model_validator(mode="after")
    def _check_one(self) -> NetworkModel:
        if bool(self.preset) + bool(self.live_run) + self.has_legs > 1:
            raise ValueError("give `preset`, `live_run` or legs (`in_ms`, ...), not several of them")
        return self


class Limits(FrozenModel):
    """How much the agent takes on."""

    simultaneous_calls: int = Field(2, ge=1)
    """More are refused."""
    burst_s: float = Field(10, ge=1)
    """How much audio a caller may send ahead of real time; a call that sends more is closed."""
    call_s: float = Field(3600, gt=0)
    """How long a call may last; the caller is told, and the call is ended."""
    calls_a_minute: int | None = Field(None, ge=1)
    """More calls that begin within a minute are refused as if all lines were taken; null: no such limit."""
    dead_line_s: float = Field(60, gt=0)
    """A line that has sent no audio for this long is ended, politely: somebody may still be listening."""
    send_s: float = Field(5, gt=0)
    """A caller's side that does not read what it is sent for this long is cut off."""
    drain_s: float = Field(3, ge=0)
    """How long running calls may take to end after SIGTERM or SIGINT; no new ones are taken meanwhile."""
    gated_calls: int = Field(1, ge=1)
    """A budget is judged with this many calls at once."""
    ready_within_s: float = Field(180, gt=0)
    """Loading and warming up must take no longer: a large model's first load takes minutes."""


class AnnouncementTexts(FrozenModel):
    """What callers hear where there is no conversation; spoken once, as the agent starts."""

    busy: str = Field("All lines are busy. Please call again in a few minutes.", min_length=1)
    dead_line: str = Field("I cannot hear you any more. Goodbye.", min_length=1)
    time_limit: str = Field("This call has reached its time limit. Goodbye.", min_length=1)
    apology: str = Field("I am sorry, something went wrong. Could you say that again?", min_length=1)
    """In place of a reply, or of the rest of one, that an engine could not make; `llm.apology` counts before it."""
    not_understood: str = Field("I am sorry, I did not understand that. Could you say it again?", min_length=1)
    """Where the recogniser found no words: at once after a second of speech or more, otherwise once the caller has
    waited in silence for `deadlines.silence_ms`."""
    failing: str = Field("I am sorry, I cannot help you at the moment. Please call again later. Goodbye.", min_length=1)
    """The last words after `deadlines.failed_turns` failed turns in a row."""


class Price(FrozenModel):
    """What the machine costs. In a profile that ships it is an assumption: set your own."""

    an_hour: float = Field(gt=0)
    """In `currency`."""
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    """ISO 4217: EUR, USD."""
    as_of: str = Field(pattern=r"^\d{4}-\d{2}$")
    """The month of that price: "2026-05"."""
    source: str = Field(min_length=1)
    """Who asks that price, or that it is assumed."""
