"""Endpointing: hearing when the caller starts, and deciding when the caller is done. One module a policy or detector.

A call feeds each inbound frame to a `VoiceActivity` detector, and its verdicts to an `Endpointer`, which says what they
mean: speech has started, the turn has ended provisionally (work may begin, nothing may be heard), the end is confirmed,
or the caller went on after all (`RESUMED`: what a provisional end began is to be thrown away). A policy that wants to
know whether the turn sounds complete says so (`COMPLETION_ASKED`); the call asks the `TurnModel` and hands its answer
back, so that policies stay pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

AudioF32 = npt.NDArray[np.float32]
"""Mono PCM, shape (n,), full scale ±1."""


class EventKind(StrEnum):
    """What an endpointer says about the caller."""

    SPEECH_STARTED = "speech_started"
    COMPLETION_ASKED = "completion_asked"
    """How complete the turn sounds is to be asked of the turn model, on the audio up to now."""
    PROVISIONAL_END = "provisional_end"
    CONFIRMED_END = "confirmed_end"
    RESUMED = "resumed"


class ConfirmedBy(StrEnum):
    """What confirmed the end of a turn."""

    SILENCE = "silence"
    """So much of it that nothing else was asked, or waited for."""
    SMART_TURN = "smart_turn"
    """The turn sounded complete, so that less silence was enough."""
    LIMIT = "limit"
    """The caller talked for the longest time a turn may have."""


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
    confirmed_by: ConfirmedBy | None = None
    """Of a CONFIRMED_END."""


@dataclass(frozen=True, slots=True)
class Voicing:
    """A detector's verdict on one window of audio."""

    end_sample: int
    """The sample after the window."""
    probability: float
    """That it holds speech, 0-1."""
    level_dbfs: float = 0.0
    """Its RMS level re full scale."""


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


class TurnModel(Protocol):
    """The loaded model that hears whether a turn is complete, shared by calls. Work is done off the event loop."""

    async def warm_up(self) -> None:
        """Run once, so that no caller pays for the first use."""
        ...

    async def completeness(self, audio: AudioF32) -> float:
        """The probability, 0-1, that a caller who was heard to say `audio` (8 kHz, shape (n,)) is done.

        Raises:
            EngineError: the engine failed; the turn ends by silence then.
        """
        ...

    async def close(self) -> None:
        """Free threads and memory."""
        ...


class Endpointer(Protocol):
    """One call's policy; pure: it looks at voicings, answers and sample counts, never at a clock."""

    def push(self, voicing: Voicing) -> list[EndpointEvent]:
        """Take the next verdict; give what it decides, as a rule nothing."""
        ...

    def completion(self, at_sample: int, probability: float) -> list[EndpointEvent]:
        """Take the answer to the COMPLETION_ASKED of `at_sample`; give what follows from it.

        An answer that comes when the caller has gone on, or the turn is over, changes nothing.
        """
        ...
