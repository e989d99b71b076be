"""Endpointing: hearing when the caller starts, and deciding when the caller is done. One module a policy or detector.

A call feeds each inbound frame to a `VoiceActivity` detector, and its verdicts to an `Endpointer`, which says what they
mean: speech has started, the turn has ended provisionally (work may begin, nothing may be heard), the end is confirmed,
or the caller went on after all (`RESUMED`: what a provisional end began is to be thrown away).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt


class EventKind(StrEnum):
    """What an endpointer says about the caller."""

    SPEECH_STARTED = "speech_started"
    PROVISIONAL_END = "provisional_end"
    CONFIRMED_END = "confirmed_end"
    RESUMED = "resumed"


@dataclass(frozen=True, slots=True)
class EndpointEvent:
    """One decision. Sample positions count from the stream's first sample, at 8 kHz."""

    kind: EventKind
    at_sample: int
    """How much audio had been heard when it was decided."""
    speech_start_sample: int
    """Where the utterance began, the detector's pre-roll included."""
    speech_end_sample: int
    """Where its last speech ended as far as is known."""


@dataclass(frozen=True, slots=True)
class Voicing:
    """A detector's verdict on one window of audio."""

    end_sample: int
    """The sample after the window."""
    probability: float
    """That it holds speech, 0-1."""


class VoiceActivity(Protocol):
    """One call's detector; it keeps state between windows."""

    async def push(self, pcm: npt.NDArray[np.int16]) -> list[Voicing]:
        """Take the next 8 kHz samples, shape (n,) for any n; give the windows that became complete."""
        ...


class VoiceActivityEngine(Protocol):
    """The loaded model, shared by calls."""

    def detector(self) -> VoiceActivity:
        """A fresh detector for one call."""
        ...

    async def warm_up(self) -> None:
        """Run once, so that no caller pays for the first use."""
        ...

    async def close(self) -> None:
        """Free threads and memory."""
        ...


class Endpointer(Protocol):
    """One call's policy; pure: it looks at voicings and sample counts, never at a clock."""

    def push(self, voicing: Voicing) -> list[EndpointEvent]:
        """Take the next verdict; give what it decides, as a rule nothing."""
        ...
