"""What the telephone network adds, how much the agent takes on, and what its machine costs."""

from __future__ import annotations

from pydantic import Field

from turngap_agent.documents import FrozenModel


class NetworkModel(FrozenModel):
    """What the telephone network adds at the caller's ear; Twilio's own guidance (November 2025) by default."""

    in_ms: float = Field(40, ge=0)
    buffering_ms: float = Field(30, ge=0)
    decode_ms: float = Field(25, ge=0)

    @property
    def total_ms(self) -> float:
        """All legs."""
        return self.in_ms + self.buffering_ms + self.decode_ms


class Limits(FrozenModel):
    """What the agent takes on."""

    simultaneous_calls: int = Field(2, ge=1)
    """More are refused."""
    gated_calls: int = Field(1, ge=1)
    """A budget is judged with this many calls going on at once."""
    ready_within_s: float = Field(180, gt=0)
    """Loading and warming up may take so long: a large model's first load takes minutes."""


class Price(FrozenModel):
    """What the machine costs. In a profile that ships it is an assumption: put your own."""

    an_hour: float = Field(gt=0)
    """In `currency`."""
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    """ISO 4217: EUR, USD."""
    as_of: str = Field(pattern=r"^\d{4}-\d{2}$")
    """The month it was so: "2026-05"."""
    source: str = Field(min_length=1)
    """Whose price it is, or that it is assumed."""
