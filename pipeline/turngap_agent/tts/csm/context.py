"""What CSM hears before it speaks: the voice prompt and earlier turns, text and audio, within the positions there are.

An utterance is its text's tokens, then one position for each 80 ms of its audio, then a frame of end codes. When the
whole does not fit, the oldest turns go, whole; the voice prompt stays.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from turngap_agent.errors import EngineError
from turngap_agent.tts import AudioF32, Spoken
from turngap_agent.tts.csm.backbone import Backbone

LINE_RATE = 8_000
"""The rate of earlier turns' audio, as it went over the line."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One earlier utterance. Two with the same key give the same keys and values."""

    key: bytes
    text_ids: tuple[int, ...]
    codes: torch.Tensor = field(compare=False)
    """Its audio, shape (frames, codebooks); no frames where it was not heard."""

    @property
    def positions(self) -> int:
        """How many positions it takes."""
        return len(self.text_ids) + (len(self.codes) + 1 if len(self.codes) else 0)

    def rows(self, backbone: Backbone) -> torch.Tensor:
        """Its embeddings, shape (positions, hidden)."""
        text = backbone.embed_text(torch.tensor(self.text_ids, device=self.codes.device))
        if not len(self.codes):
            return text
        return torch.cat((text, backbone.embed_frames(self.codes), backbone.embed_frames(backbone.end_frame)))


@dataclass(frozen=True, slots=True)
class Plan:
    """One clause to be spoken: its context, its text's ids, and at most how many frames."""

    segments: tuple[Segment, ...]
    text_ids: tuple[int, ...]
    frames: int
    reads_end: bool = True
    """False: exactly `frames`, whatever the model says (random weights never end)."""


def plan(
    prompt: Segment | None,
    turns: Sequence[Segment],
    text_ids: tuple[int, ...],
    frames: int,
    positions: int,
    *,
    reads_end: bool = True,
) -> Plan:
    """The longest run of latest `turns` that fits, after the prompt, with the text and `frames` into `positions`.

    Raises:
        EngineError: not even the prompt fits.
    """
    room = positions - len(text_ids) - frames
    if prompt is not None:
        room -= prompt.positions
    if room < 0:
        raise EngineError(
            f"csm: voice prompt, text and audio take {positions - room} positions of {positions}; shorten the voice "
            "prompt, or lower tts.max_frames"
        )
    kept: list[Segment] = []
    for turn in reversed(turns):
        if turn.positions > room:
            break
        room -= turn.positions
        kept.insert(0, turn)
    return Plan(((prompt,) if prompt is not None else ()) + tuple(kept), text_ids, frames, reads_end)


class SegmentStore:
    """Earlier utterances as segments; each one's audio goes through the codec once."""

    def __init__(
        self,
        utterance: Callable[[int, str], tuple[int, ...]],
        encode: Callable[[AudioF32, int], torch.Tensor],
        capacity: int = 64,
    ) -> None:
        """`utterance` gives the ids of (speaker, text); `encode` the codes of (audio, its rate)."""
        self._utterance = utterance
        self._encode = encode
        self._capacity = capacity
        self._segments: OrderedDict[bytes, Segment] = OrderedDict()

    def segment(self, speaker: int, text: str, audio: AudioF32, sample_rate: int) -> Segment:
        """The utterance as a segment, from the store if it was seen before."""
        name = f"{speaker} {sample_rate} {text}".encode()
        key = hashlib.blake2b(name + b"\0" + np.ascontiguousarray(audio, np.float32).tobytes(), digest_size=16).digest()
        if key not in self._segments:
            self._segments[key] = Segment(key, self._utterance(speaker, text), self._encode(audio, sample_rate))
            while len(self._segments) > self._capacity:
                self._segments.popitem(last=False)
        self._segments.move_to_end(key)
        return self._segments[key]

    def turns(self, context: tuple[Spoken, ...], speakers: dict[str, int]) -> tuple[Segment, ...]:
        """A call's earlier turns; those with neither words nor sound are left out."""
        return tuple(
            self.segment(speakers[turn.speaker], turn.text, turn.audio, LINE_RATE)
            for turn in context
            if turn.text.strip() or len(turn.audio)
        )


def resampled(audio: AudioF32, sample_rate: int, wanted_rate: int) -> AudioF32:
    """Mono `audio` at `wanted_rate`, through scipy's polyphase FIR."""
    if sample_rate == wanted_rate or not len(audio):
        return audio
    from scipy.signal import resample_poly

    divisor = int(np.gcd(sample_rate, wanted_rate))
    result: AudioF32 = resample_poly(audio, wanted_rate // divisor, sample_rate // divisor).astype(np.float32)
    return result
