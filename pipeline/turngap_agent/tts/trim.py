"""Takes the silence off both ends of a synthesiser's audio as it streams.

At the head only the last bit of silence before the first sound is given, with that sound, at once. Later silence is
held back until more sound follows; at the end only the beginning of it is given. Cuts are faded, so that they never
click. What the telephone does not carry is no sound: an "f" that lives above 4 kHz is silence to the caller.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import signal

from turngap_agent.telephony import SAMPLE_RATE
from turngap_agent.tts import AudioF32

FRAME_MS = 10
THRESHOLD_DBFS = -45.0
"""RMS of a frame in the telephone's band under which it is silence."""
_ONSET_FRAMES, _ONSET_LOUD = 7, 3
"""A clause begins where 30 ms in 70 are sound: the puff of a "p" 80 ms before its vowel is no beginning."""
_BAND_HZ = 3600.0
_FADE_MS = 5


class SilenceTrimmer:
    """One clause's audio at `rate`, in pieces of any length; what comes out does not depend on them."""

    def __init__(self, rate: int, head_ms: int = 10, tail_ms: int = 80) -> None:
        """At most `head_ms` of silence stay before the sound, at most `tail_ms` after it; nothing else is changed."""
        self._frame = FRAME_MS * rate // 1000
        self._fade = _FADE_MS * rate // 1000
        self._head = head_ms // FRAME_MS
        self._tail = tail_ms // FRAME_MS
        self._band = signal.butter(6, _BAND_HZ, fs=rate, output="sos") if rate > SAMPLE_RATE else None
        self._least = 10 ** (THRESHOLD_DBFS / 20)
        self._state: npt.NDArray[np.float64] | None = None
        self._rest: AudioF32 = np.zeros(0, np.float32)
        self._held: list[AudioF32] = []
        self._loud: list[bool] = []
        """Which of the held frames are sound."""
        self._begun = False
        self._cut = False
        """Something before the held frames was dropped."""
        self._start()

    def push(self, audio: AudioF32) -> AudioF32:
        """Take samples, shape (n,); give those that are now known to be heard."""
        joined = np.concatenate([self._rest, audio])
        full = len(joined) // self._frame * self._frame
        self._rest = joined[full:]
        given: list[AudioF32] = []
        self._take(joined[:full].reshape(-1, self._frame), given)
        return _joined(given)

    def flush(self) -> AudioF32:
        """The clause is over: give the rest of its sound and what is left of its silence; be ready for the next."""
        given: list[AudioF32] = []
        if len(self._rest):
            self._take(self._rest[None, :], given)
        if not self._begun and any(self._loud):  # a sound too short for an onset is still a sound
            self._begin(self._loud.index(True))
            self._give_sound(given)
        if self._begun:
            tail = _joined(self._held[: self._tail])
            if len(self._held) > self._tail:
                fade = min(self._fade, len(tail))
                tail[len(tail) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
            given.append(tail)
        self._start()
        return _joined(given)

    def _start(self) -> None:
        self._state = None if self._band is None else np.zeros((len(self._band), 2))
        self._rest, self._held, self._loud = self._rest[:0], [], []
        self._begun = self._cut = False

    def _take(self, frames: AudioF32, given: list[AudioF32]) -> None:
        """Hold the next frames, shape (k, n), and give what is now known to be heard."""
        for frame, loud in zip(frames, self._sound(frames), strict=True):
            self._held.append(frame)
            self._loud.append(loud)
            if self._begun:
                continue
            if sum(self._loud[-_ONSET_FRAMES:]) >= _ONSET_LOUD:
                onset = max(0, len(self._loud) - _ONSET_FRAMES)
                self._begin(self._loud.index(True, onset))
            elif len(self._held) > _ONSET_FRAMES + self._head and not any(self._loud[: -_ONSET_FRAMES + 1]):
                del self._held[0], self._loud[0]
                self._cut = True
        if self._begun:
            self._give_sound(given)

    def _begin(self, onset: int) -> None:
        """Hold from a little before the frame `onset` on, faded in when anything is dropped."""
        first = max(0, onset - self._head)
        self._held, self._loud = self._held[first:], self._loud[first:]
        if self._cut or first:
            opening = _joined(self._held)
            opening[: self._fade] *= np.linspace(0, 1, len(opening[: self._fade]), dtype=np.float32)
            self._held = np.split(opening, range(self._frame, len(opening), self._frame))
        self._begun = True

    def _give_sound(self, given: list[AudioF32]) -> None:
        """Give what is held up to the last sound in it."""
        if any(self._loud):
            end = len(self._loud) - self._loud[::-1].index(True)
            given += self._held[:end]
            self._held, self._loud = self._held[end:], self._loud[end:]

    def _sound(self, frames: AudioF32) -> list[bool]:
        heard = frames.reshape(-1).astype(np.float64)
        if self._band is not None and len(heard):
            heard, self._state = signal.sosfilt(self._band, heard, zi=self._state)
        levels = np.sqrt(np.mean(np.square(heard.reshape(frames.shape)), axis=1))
        return [bool(level >= self._least) for level in levels]


def _joined(pieces: list[AudioF32]) -> AudioF32:
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
