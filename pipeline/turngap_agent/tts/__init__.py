"""Text to speech: a clause in, PCM out in pieces. One module or package an engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

AudioF32 = npt.NDArray[np.float32]
"""Mono PCM, shape (n,), full scale ±1."""


@dataclass(frozen=True, slots=True)
class ContextUtterance:
    """An earlier utterance of the call, for synthesisers that use the conversation as context."""

    speaker: Literal["caller", "agent"]
    text: str
    audio: AudioF32
    """8 kHz mono, as it was on the telephone line."""


class Synthesizer(Protocol):
    """A loaded, shared engine; clauses of several calls may overlap. The work runs off the event loop."""

    @property
    def sample_rate(self) -> int:
        """Samples a second of the audio that it yields."""
        ...

    async def warm_up(self) -> None:
        """Speak one clause that is discarded, so that no caller waits for the first use."""
        ...

    def speak(self, text: str, context: tuple[ContextUtterance, ...] = ()) -> AsyncGenerator[AudioF32, None]:
        """Yield `text` as audio at `sample_rate`, in pieces as they are made. Closing the generator stops the work.

        Raises:
            EngineError: the engine failed; the turn is lost, the call is not.
        """
        ...

    async def close(self) -> None:
        """Free threads and memory."""
        ...


@runtime_checkable
class PreparesContext(Protocol):
    """A synthesiser that keeps what it has computed of a conversation, and can compute it before a text is there."""

    async def prepare(self, context: tuple[ContextUtterance, ...]) -> None:
        """Compute what the next text after `context` needs of it. Texts that are being spoken go first.

        Raises:
            EngineError: the engine failed.
        """
        ...
