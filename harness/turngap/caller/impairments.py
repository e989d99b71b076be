"""Impairments of the caller's line: level, echo, noise, DC offset, clipping, loss, suppressed silence.

They take microseconds a frame. A lost or suppressed frame is a message that never arrives. Twilio's `timestamp` is the
time since the stream's start and jumps over it; `sequenceNumber` and `chunk` count messages and do not. The frame that
holds the end of an utterance always arrives: stages are counted from its arrival.
"""

from __future__ import annotations

import random

import numpy as np
from turngap_agent.telephony import FRAME_SAMPLES

from turngap.caller.comfort_noise import NoiseLoop
from turngap.caller.playout import Playout
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import Pcm16
from turngap.scenario import NO_IMPAIRMENTS, Echo, LineImpairments

NOISE_FRAMES = 390
"""Not the length of the comfort noise's loop, so that their sum does not repeat with either."""
_FULL_SCALE = 32_768
SILENCE_RMS = _FULL_SCALE * 10 ** (-45 / 20)
"""Frames under it are silence to a line that suppresses it."""
HANGOVER_FRAMES = 2


class ImpairedLine:
    """One call's line; without impairments it returns frames unchanged."""

    def __init__(self, impairments: LineImpairments, playout: Playout, seed: str) -> None:
        self._impairments = impairments
        not_the_sound = {"loss_percent": 0.0, "suppress_silence": False}
        self.is_clean = impairments.model_copy(update=not_the_sound) == NO_IMPAIRMENTS
        self._hangover = 0
        self._gain = 10 ** (impairments.level_db / 20)
        clip_dbfs = impairments.clip_dbfs
        self._peak = _FULL_SCALE if clip_dbfs is None else _FULL_SCALE * 10 ** (clip_dbfs / 20)
        self._echo = None if impairments.echo is None else EchoPath(impairments.echo, playout)
        self._noise = None
        if impairments.noise_dbfs is not None:
            self._noise = NoiseLoop(NOISE_FRAMES, f"line:{seed}", impairments.noise_dbfs)
        self._rng = random.Random(f"loss:{seed}")

    def apply(self, pcm: Pcm16, frame: int, start_ns: int) -> Pcm16:
        """Return the frame as the line carries it, shape (160,) in and out; it starts at `start_ns`."""
        if self.is_clean:
            return pcm
        carried = pcm * self._gain
        if self._echo is not None and (echo := self._echo.read_frame(start_ns)) is not None:
            carried += echo
        if self._noise is not None:
            carried += self._noise.read_frame(frame)
        carried += self._impairments.dc_offset * _FULL_SCALE
        impaired: Pcm16 = np.rint(carried).clip(-self._peak, min(self._peak, _FULL_SCALE - 1)).astype(np.int16)
        return impaired

    def draw_loss(self) -> bool:
        """Return whether the next frame is lost; call it once a frame, so that the seed determines which ones are."""
        loss_percent = self._impairments.loss_percent
        return loss_percent > 0 and self._rng.random() * 100 < loss_percent

    def is_suppressed(self, pcm: Pcm16) -> bool:
        """Return whether a frame, shape (160,), is not sent because it is silence; call it once a frame, in order.

        Two frames after the last audible one are still sent, as a carrier's voice activity detector does.
        """
        if not self._impairments.suppress_silence:
            return False
        audible = float(np.sqrt(np.mean(pcm.astype(np.float64) ** 2))) >= SILENCE_RMS
        self._hangover = HANGOVER_FRAMES if audible else self._hangover - 1
        return self._hangover < 0


class EchoPath:
    """Echo of one call: the agent's audio, as the caller's end played it, in the caller's frames, weaker and later.

    Audio played longer ago than the delay can no longer change (a `clear` removes only audio that has not played yet),
    so each frame is read from the playout once, from where the last one ended.
    """

    def __init__(self, echo: Echo, playout: Playout) -> None:
        self._gain = 10 ** (-echo.attenuation_db / 20)
        self._delay_ns = echo.delay_ms * NS_PER_MS
        self._playout = playout
        self._first = 0

    def read_frame(self, start_ns: int) -> Pcm16 | None:
        """Return the echo in the frame that starts at `start_ns`, shape (160,); None if there is none.

        Read frames in order, each at its time.
        """
        from_ns = start_ns - self._delay_ns
        echo: Pcm16 | None = None
        is_past = True
        for message in self._playout.received_since(self._first):
            # Rounded to the sample: a message starts when it arrives, anywhere between two samples.
            at = round((message.play_ns - from_ns) / NS_PER_SAMPLE)
            # A message cleared before it started has a later play time than the ones after it: it ends nothing.
            if not message.played_samples or at + message.played_samples <= 0:
                self._first += is_past
                continue
            is_past = False
            if at >= FRAME_SAMPLES:
                break
            first, end = max(0, at), min(FRAME_SAMPLES, at + message.played_samples)
            echo = np.zeros(FRAME_SAMPLES, np.int16) if echo is None else echo
            echo[first:end] = np.rint(message.pcm[first - at : end - at] * self._gain)
        return echo
