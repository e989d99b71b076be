"""Settings of endpointing: when the caller's turn has ended."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from turngap_agent.documents import FrozenModel
from turngap_agent.engines import TurnSettings
from turngap_agent.engines.section import Section


class EndpointingSettings(FrozenModel):
    """When the caller's turn has ended."""

    policy: Literal["silence", "smart_turn", "speculative"] = "silence"
    """`silence`: after `min_silence_ms`. `smart_turn`: after less or more silence, as complete as the turn sounds.
    `speculative`: the same, and work begins at `provisional_ms`, before the end is certain."""
    min_silence_ms: int = Field(300, ge=32, le=5000)
    """Silence after speech that ends the turn; for `smart_turn` and `speculative`: of a turn that sounds complete."""
    max_silence_ms: int = Field(800, ge=32, le=10_000)
    """Silence that ends a turn that does not sound complete, or of which nothing is known yet."""
    speculate: Literal["none", "transcription", "generation", "synthesis"] = "synthesis"
    """How far `speculative` goes before the end is certain; what comes after it waits for the confirmation."""
    provisional_ms: int = Field(96, ge=32, le=1000)
    """The short silence at which the turn model is asked, and `speculative` begins to work."""
    threshold: float = Field(0.9, gt=0, le=1)
    """From this probability on a turn sounds complete."""
    doubt: float = Field(0.5, ge=0, lt=1)
    """Up to this one it does not; between the two the silence that is needed falls from the most to the least."""
    drop_db: float | None = Field(40.0, gt=0)
    """For `smart_turn` and `speculative`: a window so far below the level of the turn's speech is silence, though the
    detector still hears speech in it; null: the detector's word alone."""
    noise_ms: int = Field(96, ge=0, le=1000)
    """With `drop_db`: so much more silence confirms an end on a line that never becomes quiet. Noise hides how speech
    dies away, and the detector stops hearing it sooner."""
    model: Annotated[TurnSettings, Section("turn")] | None = Field(
        default_factory=lambda: {"engine": "smart_turn"}, validate_default=True
    )
    """What judges whether a turn sounds complete; not loaded for `silence`. null: nobody is asked, and
    `min_silence_ms` ends every turn."""
    speech_probability: float = Field(0.5, gt=0, lt=1)
    silence_probability: float = Field(0.35, gt=0, lt=1)
    """Hysteresis: speech begins above the first and lasts until it falls below the second."""
    min_speech_ms: int = Field(96, ge=32)
    """Shorter bursts are no speech."""
    pre_roll_ms: int = Field(256, ge=0)
    """Audio before the detected start that is transcribed too."""
    max_turn_ms: int = Field(30_000, ge=1000)
    """A caller who talks longer is answered anyway."""

    @model_validator(mode="after")
    def _in_order(self) -> EndpointingSettings:
        if self.policy != "silence":
            if not self.provisional_ms <= self.min_silence_ms <= self.max_silence_ms:
                raise ValueError(
                    f"endpointing needs provisional_ms <= min_silence_ms <= max_silence_ms; it has "
                    f"{self.provisional_ms}, {self.min_silence_ms}, {self.max_silence_ms}"
                )
            if self.doubt >= self.threshold:
                raise ValueError(f"endpointing needs doubt < threshold; it has {self.doubt:g}, {self.threshold:g}")
        return self
