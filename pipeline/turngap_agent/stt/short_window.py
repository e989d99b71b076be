"""What Whisper needs to transcribe in an encoder window shorter than 30 s, and how a transcript is seen to be wrong.

An utterance arrives some 100 ms after its last sound. Where it is cut off, line noise that ends at once is recognised
as a consonant ("names" for "name"), so noise like that of its end is appended, fading out. The decoder also needs
silence after the speech, or it repeats itself; to encode seconds of silence for every utterance is most of the work.
Whisper's encoder adds fixed positions to its input, so states of silence at any position can be computed once and
appended to those of the speech.
"""

from __future__ import annotations

import itertools
import re

import numpy as np
import numpy.typing as npt

from turngap_agent.stt import AudioF32
from turngap_agent.telephony import SAMPLE_RATE

States = npt.NDArray[np.float32]
"""Encoder states, shape (1, positions, width), 20 ms a position."""

POSITIONS_PER_SECOND = 50
QUIET_S = 0.6
"""Length of the noise that is appended to an utterance."""
_PART_SAMPLES = 128
_PARTS = 4
_NOISE: AudioF32 = np.asarray(np.random.default_rng(0).normal(0, 1, round(QUIET_S * SAMPLE_RATE)), np.float32)
_FADE: AudioF32 = np.linspace(1, 0, len(_NOISE), dtype=np.float32)
_LEAST_WORDS = 4
_LEAST_DISTINCT = 0.75
"""Least share of distinct bigrams: in a text that occurs twice it is half, in ordinary utterances nearly 1."""


def append_quiet(audio: AudioF32) -> AudioF32:
    """Return 8 kHz `audio`, shape (n,), followed by `QUIET_S` of white noise that fades from the level of its end.

    That level is the least of the last four parts of 16 ms: the level of the line without speech.
    """
    parts = [audio[len(audio) - (k + 1) * _PART_SAMPLES : len(audio) - k * _PART_SAMPLES] for k in range(_PARTS)]
    level = min((float(np.std(part)) for part in parts if len(part) == _PART_SAMPLES), default=0.0)
    return np.concatenate([audio, np.float32(level) * _NOISE * _FADE])


class SilentStates:
    """The encoder states of a whole silent window, to be appended to those of speech."""

    def __init__(self, silence: States) -> None:
        """`silence` is the encoder's states of a window that is silent throughout."""
        self._silence = silence

    def append_to(self, speech: States, seconds: float) -> States:
        """Return the states of `speech` followed by `seconds` of silence, as far as the window reaches."""
        start = speech.shape[1]
        end = min(self._silence.shape[1], start + round(seconds * POSITIONS_PER_SECOND))
        return np.ascontiguousarray(np.concatenate([speech, self._silence[:, start:end]], axis=1))


def repeats_itself(text: str) -> bool:
    """Return whether two or more words are followed by themselves, or many of the text's bigrams occur again."""
    words = re.findall(r"[\w']+", text.lower())
    if len(words) < _LEAST_WORDS:
        return False
    for size in range(2, len(words) // 2 + 1):
        if any(words[at : at + size] == words[at + size : at + 2 * size] for at in range(len(words) - 2 * size + 1)):
            return True
    bigrams = list(itertools.pairwise(words))
    return len(set(bigrams)) < _LEAST_DISTINCT * len(bigrams)
