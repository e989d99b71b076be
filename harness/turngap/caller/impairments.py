"""What a bad line does to the caller's frames: level, echo, noise, DC offset, clipping, loss. Microseconds a frame.

A lost frame is a message that never comes. Twilio's `timestamp` is the time since the stream's start, and jumps over
it; `sequenceNumber` and `chunk` count messages, and do not. The frame that holds the end of an utterance is never lost:
the time from its arrival is what stages are counted from.
"""

from __future__ import annotations

import random

import numpy as np
from turngap_agent.telephony import FRAME_SAMPLES

from turngap.caller.comfort_noise import comfort_noise
from turngap.caller.echo import EchoPath
from turngap.caller.playout import Playout
from turngap.model.records import Pcm16
from turngap.scenario import CLEAN, Line

NOISE_FRAMES = 390
"""Another length than the comfort noise's loop, so that their sum does not repeat with either."""
_FULL_SCALE = 32_768


class Degradations:
    """One call's line; the default line hands frames on untouched."""

    def __init__(self, line: Line, playout: Playout, seed: str) -> None:
        self._line = line
        self._clean = line.model_copy(update={"loss_percent": 0.0}) == CLEAN
        self._gain = 10 ** (line.level_db / 20)
        self._peak = _FULL_SCALE if line.clip_dbfs is None else _FULL_SCALE * 10 ** (line.clip_dbfs / 20)
        self._echo = None if line.echo is None else EchoPath(line.echo, playout)
        self._noise = None
        if line.noise_dbfs is not None:
            self._noise = comfort_noise(NOISE_FRAMES * FRAME_SAMPLES, f"line:{seed}", line.noise_dbfs)
        self._rng = random.Random(f"loss:{seed}")

    def apply(self, pcm: Pcm16, frame: int, start_ns: int) -> Pcm16:
        """The frame as the line carries it, shape (160,) in and out; it begins at `start_ns`."""
        if self._clean:
            return pcm
        carried = pcm * self._gain
        if self._echo is not None and (echo := self._echo.frame(start_ns)) is not None:
            carried += echo
        if self._noise is not None:
            at = frame % NOISE_FRAMES * FRAME_SAMPLES
            carried += self._noise[at : at + FRAME_SAMPLES]
        carried += self._line.dc_offset * _FULL_SCALE
        degraded: Pcm16 = np.rint(carried).clip(-self._peak, min(self._peak, _FULL_SCALE - 1)).astype(np.int16)
        return degraded

    def loses(self) -> bool:
        """Whether the next frame is lost; asked once a frame, so that the seed settles which are."""
        return self._line.loss_percent > 0 and self._rng.random() * 100 < self._line.loss_percent
