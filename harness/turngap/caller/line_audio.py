"""The audio of the caller's line, composed and coded some frames at a time: what is said changes seldom."""

from __future__ import annotations

import numpy as np
from turngap_agent.telephony import FRAME_SAMPLES, mulaw

from turngap.caller.comfort_noise import NoiseLoop
from turngap.caller.conversation import Conversation
from turngap.caller.impairments import ImpairedLine
from turngap.caller.playout import Playout
from turngap.model.records import Pcm16
from turngap.scenario import LineImpairments

NOISE_FRAMES = 400
AHEAD_FRAMES = 10
"""Composed at once, in some 50 µs; what was composed ahead is dropped when the caller begins to speak."""


class LineAudio:
    """The line of one call: comfort noise, the caller's voice and background, and the line's impairments."""

    def __init__(self, conversation: Conversation, playout: Playout, impairments: LineImpairments, seed: str) -> None:
        self._conversation = conversation
        self._noise = NoiseLoop(NOISE_FRAMES, seed)
        self._line = ImpairedLine(impairments, playout, seed)
        self._count = AHEAD_FRAMES if self._line.is_clean else 1  # an echo is that of what has been heard by then
        self._first = -self._count
        self._changes = 0
        self._pcm: Pcm16 = np.empty(0, np.int16)
        self._coded = b""

    def read_frame(self, frame: int, start_ns: int) -> tuple[Pcm16, bytes]:
        """Return a frame that starts at `start_ns`, as PCM, shape (160,), and as μ-law.

        Read frames in order, each when the conversation has decided it.
        """
        place = frame - self._first
        if place >= self._count or self._changes != self._conversation.changes:
            self._compose(frame, start_ns)
            place = 0
        at = place * FRAME_SAMPLES
        return self._pcm[at : at + FRAME_SAMPLES], self._coded[at : at + FRAME_SAMPLES]

    def is_lost(self, pcm: Pcm16, *, keep: bool) -> bool:
        """Return whether the line loses or suppresses a frame, shape (160,); call it once a frame, in order."""
        return (self._line.draw_loss() | self._line.is_suppressed(pcm)) and not keep

    def _compose(self, frame: int, start_ns: int) -> None:
        noise = self._noise.read_frames(frame, self._count)
        self._pcm = self._line.apply(self._conversation.mix_voice(noise, frame), frame, start_ns)
        self._coded = mulaw.encode(self._pcm)
        self._first, self._changes = frame, self._conversation.changes
