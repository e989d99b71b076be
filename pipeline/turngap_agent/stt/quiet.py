"""What Whisper needs behind the end of an utterance: the line's own quiet, and encoder states of silence.

An utterance is handed over some 100 ms after its last sound. Cut off there, line noise that ends at once is heard as a
consonant ("names" for "name"), so the quiet of its end goes on for a while, fading. And the decoder wants silence after
the speech, or it repeats itself; encoding seconds of silence anew for every utterance is most of the work. Whisper's
encoder adds fixed positions to its input, so states of silence at any place can be made once and set behind those of
the speech.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from turngap_agent.stt import AudioF32
from turngap_agent.telephony import SAMPLE_RATE

States = npt.NDArray[np.float32]
"""Encoder states, shape (1, positions, width), 20 ms a position."""

POSITIONS_A_SECOND = 50
QUIET_S = 0.6
"""So long an utterance's own quiet goes on after its end."""
_PART_SAMPLES = 128
_PARTS = 4
_NOISE: AudioF32 = np.asarray(np.random.default_rng(0).normal(0, 1, round(QUIET_S * SAMPLE_RATE)), np.float32)
_FADING: AudioF32 = np.linspace(1, 0, len(_NOISE), dtype=np.float32)


def with_quiet_after(audio: AudioF32) -> AudioF32:
    """8 kHz `audio`, shape (n,), and `QUIET_S` of white noise that fades from the level of its own end.

    That level is the least of four 16 ms parts before the end: what the line sounds like when nobody speaks.
    """
    parts = [audio[len(audio) - (k + 1) * _PART_SAMPLES : len(audio) - k * _PART_SAMPLES] for k in range(_PARTS)]
    level = min((float(np.std(part)) for part in parts if len(part) == _PART_SAMPLES), default=0.0)
    return np.concatenate([audio, np.float32(level) * _NOISE * _FADING])


class SilentStates:
    """The states of a whole window of silence, to be set behind those of speech."""

    def __init__(self, silence: States) -> None:
        """`silence` is what the encoder makes of a window that is silent throughout."""
        self._silence = silence

    def behind(self, speech: States, seconds: float) -> States:
        """The states of `speech`, and behind them `seconds` of silence as far as the window reaches."""
        begun = speech.shape[1]
        ended = min(self._silence.shape[1], begun + round(seconds * POSITIONS_A_SECOND))
        return np.ascontiguousarray(np.concatenate([speech, self._silence[:, begun:ended]], axis=1))
