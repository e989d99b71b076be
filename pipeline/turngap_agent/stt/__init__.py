"""Speech to text: a caller's utterance in, its words out. One module or package an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

AudioF32 = npt.NDArray[np.float32]
"""Mono PCM, shape (n,), full scale ±1."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of an utterance, and how they were recognised."""

    text: str
    window_s: float = 30.0
    """Length of the encoder window."""
    rerun: bool = False
    """Whether the transcript of a short window repeated itself and was computed again: with more silence after the
    speech, or in a whole window."""
    scripted: bool = False
    """Whether the words come from a script, and nothing was recognised."""


class SpeechToText(Protocol):
    """A loaded, shared engine; transcriptions of several calls may overlap. The work runs off the event loop."""

    async def warm_up(self) -> None:
        """Run once on artificial audio, so that no caller waits for the first use."""
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
    """Speech-to-text with random weights: its work for an utterance depends on the words that it is to return."""

    async def transcribe_as(self, audio: AudioF32, words: str) -> Transcript:
        """Do for 8 kHz mono `audio`, shape (n,), the work of recognising `words`, and return those.

        Raises:
            EngineError: the engine failed; the turn is lost, the call is not.
        """
        ...
