"""Speech to text: a caller's utterance in, its words out. One module an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

AudioF32 = npt.NDArray[np.float32]
"""Mono PCM, shape (n,), full scale ±1."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said, and how it was found."""

    text: str
    window_s: float = 30.0
    """The encoder window that was run."""
    rerun: bool = False
    """True when a short window repeated itself and was run again: with more silence behind the speech, or in full."""
    scripted: bool = False
    """True where the words are a script's, and nothing was recognised."""


class SpeechToText(Protocol):
    """A loaded, shared engine; calls of several phone calls may overlap. Work is done off the event loop."""

    async def warm_up(self) -> None:
        """Run once on made-up audio, so that no caller pays for the first use."""
        ...

    async def transcribe(self, audio: AudioF32) -> Transcript:
        """Recognise 8 kHz mono `audio`, shape (n,).

        Raises:
            EngineError: the engine failed; the turn is lost, the call is not.
        """
        ...

    async def close(self) -> None:
        """Free threads and memory."""
        ...


@runtime_checkable
class FixedWork(Protocol):
    """Speech-to-text on random weights: what it does for an utterance is settled by the words it is to have."""

    async def transcribe_as(self, audio: AudioF32, words: str) -> Transcript:
        """Do for 8 kHz mono `audio`, shape (n,), the work of recognising `words`, which are then what was "said".

        Raises:
            EngineError: the engine failed; the turn is lost, the call is not.
        """
        ...
