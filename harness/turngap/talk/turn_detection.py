"""The turns of an unplanned conversation: where a person's speech ends, and when the agent's reply is over.

The end of speech is an estimate, since no label is known. As for the labels of clips, speech is over
max(-55 dBFS, p95 - 35 dB). A room is noisier than a clip, so speech must also be 10 dB over the room (the 5th
percentile), but no threshold is over p95 - 15 dB. Start and end are found to the sample, as those of labels are. A
single loud 10 ms frame is not speech: three of five in a row are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from turngap.caller.onset import find_onset, levels_dbfs
from turngap.caller.playout import Playout, played_segments
from turngap.clock import NS_PER_MS
from turngap.corpus.labels import BELOW_P95_DB, FLOOR_DBFS, SHIFT_DB, end_of_speech, start_of_speech
from turngap.model.records import Pcm16

OVER_ROOM_DB, MIN_BELOW_P95_DB = 10.0, 15.0
WINDOW_FRAMES, ENOUGH_FRAMES = 5, 3
MIN_SPEECH_FRAMES = 10
"""A shorter sound is not an utterance."""
QUIET_NS = 800 * NS_PER_MS
"""A reply is over when nothing was buffered for this long: longer than most pauses between an agent's clauses."""


@dataclass(frozen=True, slots=True)
class SpeechEstimate:
    """Where the speech is: samples start_sample up to, not including, end_sample."""

    start_sample: int
    end_sample: int
    low_ms: float
    """The move of the end with the threshold moved by -5 dB."""
    high_ms: float
    """The move of the end with the threshold moved by +5 dB."""


def estimate_speech(pcm: Pcm16) -> SpeechEstimate | None:
    """Return the first to the last speech in that audio, 8 kHz, shape (n,); None if there is none."""
    levels = levels_dbfs(pcm)
    if len(levels) < WINDOW_FRAMES:
        return None
    loud, room = (float(np.percentile(levels, q)) for q in (95, 5))
    threshold = min(max(FLOOR_DBFS, loud - BELOW_P95_DB, room + OVER_ROOM_DB), loud - MIN_BELOW_P95_DB)
    threshold = max(threshold, FLOOR_DBFS)
    over = {shift: _speech_frames(levels > threshold + shift) for shift in (0.0, -SHIFT_DB, SHIFT_DB)}
    if len(over[0.0]) < MIN_SPEECH_FRAMES:
        return None
    start = start_of_speech(pcm, int(over[0.0][0]), threshold)
    end, low, high = (
        end_of_speech(pcm, int(frames[-1]), threshold + shift) if len(frames) else 0 for shift, frames in over.items()
    )
    return SpeechEstimate(start, end, (low - end) / 8, (high - end) / 8 if high else 0.0)


def _speech_frames(over: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the frames over the threshold with enough other such frames around them."""
    near = np.convolve(over, np.ones(WINDOW_FRAMES), "same") >= ENOUGH_FRAMES
    return np.flatnonzero(over & near).astype(np.int64)


class ReplyDetector:
    """Detects the end of each reply in the playout of one call."""

    def __init__(self, playout: Playout, from_ns: int) -> None:
        self._playout = playout
        self._first = 0
        self.from_ns = from_ns
        """The start of the current turn."""
        self.onset_ns: int | None = None
        """The first audible sample of the current reply, once it is heard."""

    def find_finished_reply(self, now_ns: int) -> int | None:
        """Return the onset of the current reply if it is over by now, else None."""
        if self.onset_ns is None:
            segments = played_segments(self._playout.received_since(self._first), self.from_ns)
            onset_ns = find_onset(segments, self.from_ns)
            self.onset_ns = onset_ns if onset_ns is not None and onset_ns <= now_ns else None
        if self.onset_ns is None or now_ns < self._playout.end_ns + QUIET_NS:
            return None
        return self.onset_ns

    def start_next_turn(self) -> None:
        """End the turn: the next one started when all audio received so far had been played."""
        self.from_ns, self.onset_ns = self._playout.end_ns, None
        self._first = len(self._playout.received)
