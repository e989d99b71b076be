"""The frames that one call has sent, in the order of their deadlines, for its record."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from turngap_agent.telephony import FRAME_SAMPLES

from turngap.model.records import Int64, Pcm16


class SentFields(TypedDict):
    """Fields of `CallRecord`."""

    sent_ns: Int64
    caller_pcm: Pcm16
    chunks: Int64
    lost_frames: tuple[int, ...]


class SentFrames:
    """What was composed, what of it left, when, and as which message."""

    def __init__(self) -> None:
        self._chunks: list[int] = []
        self._sent_ns: list[int] = []
        self._pcm: list[Pcm16] = []
        self._lost: list[int] = []

    def __len__(self) -> int:
        return len(self._sent_ns)

    @property
    def samples(self) -> int:
        """The samples of all frames."""
        return len(self) * FRAME_SAMPLES

    def begin(self, now_ns: int) -> None:
        """Add a frame that is composed at `now_ns`."""
        self._chunks.append(0)
        self._sent_ns.append(now_ns)

    def finish(self, pcm: Pcm16, *, lost: bool) -> None:
        """Record the frame's audio, shape (160,); of a lost one there is none."""
        if lost:
            self._lost.append(len(self) - 1)
        self._pcm.append(np.zeros_like(pcm) if lost else pcm)

    def note_written(self, frame: int, chunk: int, sent_ns: int) -> None:
        """Record the message with that frame; of two copies the first counts."""
        if not self._chunks[frame]:
            self._chunks[frame], self._sent_ns[frame] = chunk, sent_ns

    def to_record(self) -> SentFields:
        """Return the fields of a call's record."""
        return SentFields(
            sent_ns=np.array(self._sent_ns, np.int64),
            caller_pcm=np.concatenate([np.empty(0, np.int16), *self._pcm]),
            chunks=np.array(self._chunks, np.int64),
            lost_frames=tuple(self._lost),
        )
