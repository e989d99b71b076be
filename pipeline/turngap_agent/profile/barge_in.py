"""Settings of what happens when the caller is heard over the agent."""

from __future__ import annotations

from pydantic import Field, model_validator

from turngap_agent.documents import FrozenModel


class BargeInSettings(FrozenModel):
    """When the agent falls silent, when it goes on, and when it gives its turn up."""

    pause_ms: int = Field(64, ge=32, le=1000)
    """Caller's voice over the agent that silences it. Nothing is lost by it, so it may be short."""
    sure_probability: float = Field(0.8, gt=0, le=1)
    """One window (32 ms) that surely is speech silences it too. 1: none does, unless its detector knows no doubt."""
    backchannel_ms: int = Field(576, ge=32, le=5000)
    """Voice that lasts this long ends the agent's turn; less is an "mm-hm" or a cough, and the agent goes on. As the
    detector sees it, which is longer than the sound: by up to two windows for Silero."""
    go_on_ms: int = Field(256, ge=32, le=2000)
    """Silence after a backchannel before the agent goes on."""
    tail_ms: int = Field(200, ge=0, le=2000)
    """With no more than this left to be heard of a complete reply, the caller is not over the agent but next."""
    echo_below_db: float = Field(20.0, ge=0, le=90)
    """What comes in this much below what the agent has just played is taken for its echo. 90: there is no echo."""
    echo_within_ms: int = Field(500, ge=0, le=2000)
    """How long after it was sent an echo may come back."""
    limit_preface: str = "I am sorry to interrupt you."
    """Said before the reply to a caller who was still talking at `endpointing.max_turn_ms`; may be empty."""

    @model_validator(mode="after")
    def _ordered(self) -> BargeInSettings:
        if self.backchannel_ms < self.pause_ms:
            raise ValueError(f"backchannel_ms ({self.backchannel_ms}) is below pause_ms ({self.pause_ms})")
        return self
