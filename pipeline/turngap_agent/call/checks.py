"""Whether what an engine returned is what its stage returns; what is not raises an error that says what it is.

Audio that is not finite would be heard as noise, text with control characters would break what it is written to, and
megabytes of either would hold the event loop for everybody.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from turngap_agent.endpointing import Voicing
from turngap_agent.stt import Transcript
from turngap_agent.tts import AudioF32

MOST_WORDS_CHARACTERS = 10_000
"""Of a transcript: a caller does not say as much in the longest turn."""
CHARACTERS_A_TOKEN = 40
"""No token is as long on average."""
LEAST_REPLY_CHARACTERS = 1000
LOUDEST = 8.0
"""Re full scale: what a synthesiser overshoots is far less; integers that were not scaled are far more."""
LEAST_CLAUSE_S, SECONDS_A_CHARACTER = 60.0, 3.0
"""A clause is not longer than either."""
_ALLOWED = frozenset("\t\n\r")


def check_transcript(value: Any) -> Transcript:
    """Return the transcript, if it has text of a sensible length.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if not isinstance(value, Transcript):
        raise TypeError(f"{_name(value)} in place of a transcript")
    _check_text(value.text, MOST_WORDS_CHARACTERS)
    return value


@dataclass(slots=True)
class ReplyText:
    """Checks the pieces of one reply of at most `max_tokens`."""

    max_tokens: int
    _characters: int = 0

    def __call__(self, value: Any) -> str:
        """Return the piece of text.

        Raises:
            TypeError, ValueError: it is none, or the reply is far longer than its tokens allow.
        """
        most = max(LEAST_REPLY_CHARACTERS, CHARACTERS_A_TOKEN * self.max_tokens)
        text = _check_text(value, most)
        self._characters += len(text)
        if self._characters > most:
            raise ValueError(f"over {most} characters, for at most {self.max_tokens} tokens")
        return text


@dataclass(slots=True)
class ClauseAudio:
    """Checks the audio of one clause `text`, at `rate` samples a second."""

    text: str
    rate: int
    _samples: int = 0

    def __call__(self, value: Any) -> AudioF32:
        """Return the piece of audio, float32, shape (n,).

        Raises:
            TypeError, ValueError: it has another type or shape, is not finite, is far too loud, or far longer than its
                text.
        """
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.ndim != 1:
            raise TypeError(f"{_name(value)} in place of audio (float32, shape (n,))")
        if value.size and not float(np.abs(value).max()) <= LOUDEST:  # NaN is not below anything
            raise ValueError(f"audio that is not finite, or over {LOUDEST:g} times full scale")
        self._samples += value.size
        most_s = max(LEAST_CLAUSE_S, SECONDS_A_CHARACTER * len(self.text))
        if self._samples > most_s * self.rate:
            raise ValueError(f"over {most_s:g} s of audio for {len(self.text)} characters")
        return np.asarray(value, np.float32)


def check_probability(value: Any) -> float:
    """Return the probability, 0-1.

    Raises:
        TypeError, ValueError: it is none.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{_name(value)} in place of a probability") from None
    if not 0 <= number <= 1:
        raise ValueError(f"{number:g} as a probability")
    return number


def make_voicings_check(after_sample: int, end_sample: int) -> Callable[[Any], list[Voicing]]:
    """Return a check of the windows that a detector completes after `after_sample`, of audio up to `end_sample`."""

    def check(value: Any) -> list[Voicing]:
        if not isinstance(value, list):
            raise TypeError(f"{_name(value)} in place of a list of windows")
        last = after_sample
        for voicing in value:
            if not isinstance(voicing, Voicing):
                raise TypeError(f"{_name(voicing)} in place of a window")
            check_probability(voicing.probability)
            if math.isnan(voicing.level_dbfs) or not last < voicing.end_sample <= end_sample:
                raise ValueError(f"a window that ends at sample {voicing.end_sample}, at {voicing.level_dbfs:g} dBFS")
            last = voicing.end_sample
        return value

    return check


def is_empty(piece: Sized) -> bool:
    """Return whether a piece of text or audio has nothing in it."""
    return not len(piece)


def _check_text(value: Any, most: int) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{_name(value)} in place of text")
    if len(value) > most:
        raise ValueError(f"{len(value)} characters of text")
    for character in "" if value.isprintable() else value:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in _ALLOWED:
            raise ValueError(f"text with the character U+{ord(character):04X}")
    return value


def _name(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}, shape {value.shape},"
    return f"a value of type {type(value).__name__}"
