"""CSM's context: the voice prompt and earlier utterances, as text and audio, within the positions of a slot.

An utterance is its text's tokens, then one position for each 80 ms of its audio, then a frame of end codes. If the
context does not fit, the oldest utterances are left out, each as a whole; the voice prompt stays.
"""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from turngap_agent.errors import EngineError
from turngap_agent.tts import AudioF32, ContextUtterance
from turngap_agent.tts.csm.backbone import Backbone

LINE_RATE = 8_000
"""The rate of earlier utterances' audio, as it was on the telephone line."""
SEGMENTS_A_CALL = 16
"""Twice the eight utterances that an agent keeps of a call."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One earlier utterance. Segments with the same key have the same keys and values."""

    key: bytes
    text_ids: tuple[int, ...]
    codes: torch.Tensor = field(compare=False)
    """Its audio, shape (frames, codebooks); no frames if none of it was played."""

    @property
    def positions(self) -> int:
        """How many positions it needs."""
        return len(self.text_ids) + (len(self.codes) + 1 if len(self.codes) else 0)

    def rows(self, backbone: Backbone) -> torch.Tensor:
        """Return its embeddings, shape (positions, hidden)."""
        text = backbone.embed_text(torch.tensor(self.text_ids, device=self.codes.device))
        if not len(self.codes):
            return text
        return torch.cat((text, backbone.embed_frames(self.codes), backbone.embed_frames(backbone.end_frame)))


@dataclass(frozen=True, slots=True)
class SpeechPlan:
    """One piece to be spoken: its context, its text's ids, and the largest number of frames."""

    segments: tuple[Segment, ...]
    text_ids: tuple[int, ...]
    frames: int
    reads_end: bool = True
    """Whether the model's end of audio counts; if not, there are exactly `frames` (random weights never end)."""


def plan_speech(
    prompt: Segment | None,
    utterances: Sequence[Segment],
    text_ids: tuple[int, ...],
    frames: int,
    positions: int,
    *,
    reads_end: bool = True,
) -> SpeechPlan:
    """Return the plan with the prompt and as many of the latest `utterances` as fit into `positions`.

    Raises:
        EngineError: not even the prompt fits.
    """
    room = positions - len(text_ids) - frames
    if prompt is not None:
        room -= prompt.positions
    if room < 0:
        raise EngineError(
            f"csm: voice prompt, text and audio need {positions - room} positions, and there are {positions}; shorten "
            "the voice prompt, or lower tts.max_frames"
        )
    segments = choose_segments(prompt, utterances, len(text_ids) + frames, positions)
    return SpeechPlan(segments, text_ids, frames, reads_end)


def choose_segments(
    prompt: Segment | None, utterances: Sequence[Segment], reserve: int, positions: int
) -> tuple[Segment, ...]:
    """Return the prompt and as many of the latest `utterances` as leave `reserve` of `positions` free."""
    room = positions - reserve - (prompt.positions if prompt is not None else 0)
    kept: list[Segment] = []
    for utterance in reversed(utterances):
        if utterance.positions > room:
            break
        room -= utterance.positions
        kept.insert(0, utterance)
    return ((prompt,) if prompt is not None else ()) + tuple(kept)


class SegmentStore:
    """Earlier utterances as segments; the audio of each is encoded once."""

    def __init__(
        self,
        encode_text: Callable[[int, str], tuple[int, ...]],
        encode_audio: Callable[[AudioF32, int], torch.Tensor],
        capacity: int = 64,
    ) -> None:
        """`encode_text` returns the ids of (speaker, text), `encode_audio` the codes of (audio, its rate)."""
        self._encode_text = encode_text
        self._encode_audio = encode_audio
        self._capacity = capacity
        self._segments: OrderedDict[bytes, Segment] = OrderedDict()
        self._digests: dict[int, tuple[weakref.ref[AudioF32], bytes]] = {}
        """By identity: the same arrays come back in every turn of a call, and seconds of audio take time to digest."""

    def segment(self, speaker: int, text: str, audio: AudioF32, sample_rate: int) -> Segment:
        """Return the utterance as a segment, from the store if it is there."""
        key = self._key(speaker, text, audio, sample_rate)
        if key not in self._segments:
            self._segments[key] = Segment(key, self._encode_text(speaker, text), self._encode_audio(audio, sample_rate))
            while len(self._segments) > self._capacity:
                self._segments.popitem(last=False)
        self._segments.move_to_end(key)
        return self._segments[key]

    def encode_next(self, context: tuple[ContextUtterance, ...], speakers: dict[str, int]) -> bool:
        """Encode the first utterance of `context` that is not in the store; return whether there was one."""
        for speaker, text, audio in _spoken(context, speakers):
            if self._key(speaker, text, audio, LINE_RATE) not in self._segments:
                self.segment(speaker, text, audio, LINE_RATE)
                return True
        return False

    def make_room(self, calls: int) -> None:
        """Hold the context of `calls` calls at least, that of each turn and of the one before it."""
        self._capacity = max(self._capacity, calls * SEGMENTS_A_CALL)

    def _key(self, speaker: int, text: str, audio: AudioF32, sample_rate: int) -> bytes:
        name = f"{speaker} {sample_rate} {text}".encode()
        return hashlib.blake2b(name + b"\0" + self._digest(audio), digest_size=16).digest()

    def _digest(self, audio: AudioF32) -> bytes:
        known = self._digests.get(id(audio))
        if known is not None and known[0]() is audio:
            return known[1]
        digest = hashlib.blake2b(np.ascontiguousarray(audio, np.float32).data, digest_size=16).digest()
        number = id(audio)
        self._digests[number] = (weakref.ref(audio, lambda _: self._digests.pop(number, None)), digest)
        return digest

    def segments(self, context: tuple[ContextUtterance, ...], speakers: dict[str, int]) -> tuple[Segment, ...]:
        """Return a call's earlier utterances as segments; those with neither words nor sound are left out."""
        return tuple(
            self.segment(speaker, text, audio, LINE_RATE) for speaker, text, audio in _spoken(context, speakers)
        )


def _spoken(context: tuple[ContextUtterance, ...], speakers: dict[str, int]) -> list[tuple[int, str, AudioF32]]:
    return [
        (speakers[utterance.speaker], utterance.text, utterance.audio)
        for utterance in context
        if utterance.text.strip() or len(utterance.audio)
    ]


def resample(audio: AudioF32, sample_rate: int, target_rate: int) -> AudioF32:
    """Return mono `audio` at `target_rate`, through a polyphase FIR: that of scipy's `resample_poly`."""
    if sample_rate == target_rate or not len(audio):
        return audio
    if target_rate % sample_rate == 0:
        return _upsample(audio, target_rate // sample_rate)
    from scipy.signal import resample_poly

    divisor = int(np.gcd(sample_rate, target_rate))
    result: AudioF32 = resample_poly(audio, target_rate // divisor, sample_rate // divisor).astype(np.float32)
    return result


def _upsample(audio: AudioF32, factor: int) -> AudioF32:
    """Return `audio` at a multiple of its rate, without scipy: the line's audio becomes the codec's in every turn."""
    reach = 10  # input samples on either side, and the Kaiser window's 5: scipy's defaults
    places = np.arange(-reach * factor, reach * factor + 1)
    taps = np.sinc(places / factor) * np.kaiser(len(places), 5.0)
    taps *= factor / taps.sum()
    result = np.empty(len(audio) * factor, np.float32)
    for phase in range(factor):
        result[phase::factor] = np.convolve(audio, taps[phase::factor])[reach : reach + len(audio)]
    return result
