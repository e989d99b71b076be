"""Trims the silence at both ends of a synthesiser's audio as it streams.

At the start only the last frames of silence before the first sound are kept, and returned at once with that sound.
Later silence is held back until more sound follows; at the end only its first part is kept. Cuts are faded, so that
they do not click. Sound that the telephone does not carry counts as silence: a caller does not hear an "f" above 4 kHz.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import signal

from turngap_agent.telephony import SAMPLE_RATE
from turngap_agent.tts import AudioF32

FRAME_MS = 10
THRESHOLD_DBFS = -45.0
"""A frame whose RMS in the telephone's band is lower is silence."""
_ONSET_FRAMES, _ONSET_LOUD = 7, 3
"""A clause starts where 30 ms of 70 are sound: the puff of a "p" 80 ms before its vowel is no start."""
_BAND_HZ = 3600.0
_FADE_MS = 5


class SilenceTrimmer:
    """Trims one clause's audio at `rate`, pushed in pieces of any length; the result does not depend on the lengths."""

    def __init__(self, rate: int, head_ms: int = 10, tail_ms: int = 80) -> None:
        """Keep at most `head_ms` of silence before the sound and `tail_ms` after it; nothing else is changed."""
        self._frame = FRAME_MS * rate // 1000
        self._fade = _FADE_MS * rate // 1000
        self._head = head_ms // FRAME_MS
        self._tail = tail_ms // FRAME_MS
        self._band = _design_band(rate) if rate > SAMPLE_RATE else None
        self._least = 10 ** (THRESHOLD_DBFS / 20)
        self._state: npt.NDArray[np.float64] | None = None
        self._rest: AudioF32 = np.zeros(0, np.float32)
        self._held: list[AudioF32] = []
        self._loud: list[bool] = []
        """Whether each held frame is sound."""
        self._started = False
        self._cut = False
        """Whether frames before the held ones were dropped."""
        self._reset()

    def push(self, audio: AudioF32) -> AudioF32:
        """Add samples, shape (n,); return those that are now known to be kept."""
        samples = np.concatenate([self._rest, audio])
        full = len(samples) // self._frame * self._frame
        self._rest = samples[full:]
        kept: list[AudioF32] = []
        self._add(samples[:full].reshape(-1, self._frame), kept)
        return _join(kept)

    def flush(self) -> AudioF32:
        """End the clause; return the rest of its sound and the silence that is kept after it."""
        kept: list[AudioF32] = []
        if len(self._rest):
            self._add(self._rest[None, :], kept)
        if not self._started and any(self._loud):  # a sound too short for an onset is still a sound
            self._start(self._loud.index(True))
            self._release_sound(kept)
        if self._started:
            tail = _join(self._held[: self._tail])
            if len(self._held) > self._tail:
                fade = min(self._fade, len(tail))
                tail[len(tail) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
            kept.append(tail)
        self._reset()
        return _join(kept)

    def _reset(self) -> None:
        self._state = None if self._band is None else np.zeros((len(self._band), 2))
        self._rest, self._held, self._loud = self._rest[:0], [], []
        self._started = self._cut = False

    def _add(self, frames: AudioF32, kept: list[AudioF32]) -> None:
        """Hold the next frames, shape (k, n), and append to `kept` what is now known to be kept."""
        for frame, loud in zip(frames, self._find_sound(frames), strict=True):
            self._held.append(frame)
            self._loud.append(loud)
            if self._started:
                continue
            if sum(self._loud[-_ONSET_FRAMES:]) >= _ONSET_LOUD:
                onset = max(0, len(self._loud) - _ONSET_FRAMES)
                self._start(self._loud.index(True, onset))
            elif len(self._held) > _ONSET_FRAMES + self._head and not any(self._loud[: -_ONSET_FRAMES + 1]):
                del self._held[0], self._loud[0]
                self._cut = True
        if self._started:
            self._release_sound(kept)

    def _start(self, onset: int) -> None:
        """Hold the frames from shortly before `onset` on, faded in if any were dropped."""
        first = max(0, onset - self._head)
        self._held, self._loud = self._held[first:], self._loud[first:]
        if self._cut or first:
            opening = _join(self._held)
            opening[: self._fade] *= np.linspace(0, 1, len(opening[: self._fade]), dtype=np.float32)
            self._held = np.split(opening, range(self._frame, len(opening), self._frame))
        self._started = True

    def _release_sound(self, kept: list[AudioF32]) -> None:
        """Append to `kept` the held frames up to the last that is sound."""
        if any(self._loud):
            end = len(self._loud) - self._loud[::-1].index(True)
            kept += self._held[:end]
            self._held, self._loud = self._held[end:], self._loud[end:]

    def _find_sound(self, frames: AudioF32) -> list[bool]:
        audible = frames.reshape(-1).astype(np.float64)
        if self._band is not None and len(audible):
            audible, self._state = signal.sosfilt(self._band, audible, zi=self._state)
        levels = np.sqrt(np.mean(np.square(audible.reshape(frames.shape)), axis=1))
        return [bool(level >= self._least) for level in levels]


@cache
def _design_band(rate: int) -> npt.NDArray[np.float64]:
    """Return the telephone's band as second-order sections; its design takes longer than filtering a clause."""
    sections: npt.NDArray[np.float64] = signal.butter(6, _BAND_HZ, fs=rate, output="sos")
    return sections


def _join(pieces: list[AudioF32]) -> AudioF32:
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
