"""The audio of the dialects: decoded in bounded pieces, converted between 8 and 16 kHz without delay.

A resampling filter with linear phase delays by half its length; here each piece is extended by what precedes it and by
its own last sample, and the delay is cut off, so that a sound keeps its time. What the filter smears is 1.4 ms on
either side at most, and an onset moves by less than 1 ms (`tests/harness/caller/dialects/test_audio.py`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import signal
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import SAMPLE_RATE, mulaw

from turngap.caller import alaw
from turngap.caller.long_message import AnyMessage, is_text, slice_message

Pcm16 = npt.NDArray[np.int16]
Rate = Literal[8000, 16000]
PIECE_SAMPLES = 8000
"""A second of audio at 8 kHz: decoded, and its levels found, in some 0.1 ms."""
_TAPS, _CUTOFF_HZ = 47, 3600.0
_REACH = _TAPS // 2
_LINE_BREAK = re.compile(r"\s|\\[nrt]")
"""As characters; or as escapes, in a message that is too long to be parsed whole."""
_URL_SAFE = re.compile("[-_]")
_UNPADDED = re.compile("[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How audio is coded."""

    coding: Literal["mulaw", "alaw", "l16"]
    """l16: 16-bit linear PCM, little-endian."""
    rate: Rate = 8000

    @property
    def bytes_per_second(self) -> int:
        """The bytes of a second."""
        return self.rate * (2 if self.coding == "l16" else 1)


MULAW, ALAW = AudioFormat("mulaw"), AudioFormat("alaw")


class AudioDecoder:
    """Decodes one call's received audio to 8 kHz."""

    def __init__(self) -> None:
        self._before: Pcm16 = np.zeros(0, np.int16)

    def pieces(self, payload: AnyMessage, coded: AudioFormat, *, continues: bool) -> Iterator[Pcm16]:
        """Yield the payload's audio in pieces of about a second, int16 at 8 kHz.

        `continues`: it is played right after what was decoded before it.

        Raises:
            ProtocolError: the payload is not base64; pieces before the fault have been yielded.
        """
        step = coded.bytes_per_second * PIECE_SAMPLES // SAMPLE_RATE
        if is_text(payload):
            step = step // 12 * 16  # whole groups of base64, and whole samples
        empty = True
        for part in slice_message(payload, step):
            yield self._decode(_decode_payload(part), coded, continues=continues or not empty)
            empty = False
        if empty:
            yield np.zeros(0, np.int16)

    def _decode(self, raw: bytes, coded: AudioFormat, *, continues: bool) -> Pcm16:
        if coded.coding == "mulaw":
            return mulaw.decode(raw)
        if coded.coding == "alaw":
            return alaw.decode(raw)
        pcm = np.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(np.int16)
        if coded.rate == SAMPLE_RATE:
            return pcm
        before = self._before if continues else np.zeros(0, np.int16)
        self._before = np.concatenate([before, pcm])[-_REACH:]
        return halve_rate(pcm, before)


def count_samples(payload: AnyMessage, coded: AudioFormat) -> int:
    """Return how many samples at 8 kHz a payload has, to within two."""
    size = len(payload) // 4 * 3 if is_text(payload) else len(payload)
    return size * SAMPLE_RATE // coded.bytes_per_second


def encode_frame(payload: bytes, rate: Rate, before: Pcm16) -> tuple[bytes, Pcm16]:
    """Return a frame of μ-law as 16-bit PCM at `rate`, and the samples to be given as `before` with the next frame."""
    pcm = mulaw.decode(payload)
    if rate != SAMPLE_RATE:
        return double_rate(pcm, before).astype("<i2").tobytes(), pcm[-_REACH:]
    return pcm.astype("<i2").tobytes(), pcm


def halve_rate(pcm: Pcm16, before: Pcm16) -> Pcm16:
    """Return audio at 16 kHz, shape (n,), at 8 kHz, shape (ceil(n / 2),); `before` is what precedes it."""
    return _to_pcm(_filter(pcm, before, _low_pass())[::2])


def double_rate(pcm: Pcm16, before: Pcm16) -> Pcm16:
    """Return audio at 8 kHz, shape (n,), at 16 kHz, shape (2 n,); `before` is what precedes it."""
    extended = _extend(pcm, before, -(-_REACH // 2))
    spread = np.zeros(2 * len(extended))
    spread[::2] = extended
    first = 2 * -(-_REACH // 2) - _REACH
    filtered = np.convolve(spread, 2 * _low_pass(), "valid")
    return _to_pcm(filtered[first : first + 2 * len(pcm)])


def _filter(pcm: Pcm16, before: Pcm16, taps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.convolve(_extend(pcm, before, _REACH), taps, "valid") if len(pcm) else np.zeros(0)


def _extend(pcm: Pcm16, before: Pcm16, reach: int) -> npt.NDArray[np.float64]:
    """Return the audio with `reach` samples of silence or of `before` ahead of it, and of its last sample behind it."""
    extended = np.zeros(len(pcm) + 2 * reach)
    context = before[-reach:]
    extended[reach - len(context) : reach] = context
    extended[reach : reach + len(pcm)] = pcm
    extended[reach + len(pcm) :] = pcm[-1] if len(pcm) else 0
    return extended


def _to_pcm(samples: npt.NDArray[np.float64]) -> Pcm16:
    return np.clip(np.rint(samples), -32_768, 32_767).astype(np.int16)


def _decode_payload(payload: str | bytes) -> bytes:
    if isinstance(payload, bytes):
        return payload
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError(f"`media.payload` is not base64{_explain_base64(payload)}: {payload[:30]!r}") from None


def _explain_base64(payload: str) -> str:
    """Return what encoders often do otherwise, and the remedy; "" if it is none of that."""
    if payload.startswith("data:"):
        return " (it begins as a data URL: send what follows its comma)"
    if _LINE_BREAK.search(payload):
        return " (it has line breaks: send one line, in Python by `base64.b64encode`, not `encodebytes`)"
    if _URL_SAFE.search(payload):
        return " (it has the URL-safe alphabet, - and _: send the standard one, + and /)"
    if _UNPADDED.fullmatch(payload):
        return " (its padding is missing: its length has to be a multiple of 4, with = at the end)"
    return ""


@cache
def _low_pass() -> npt.NDArray[np.float64]:
    """A low-pass with linear phase, for 16 kHz; shape (47,)."""
    return np.asarray(signal.firwin(_TAPS, _CUTOFF_HZ, fs=2 * SAMPLE_RATE), np.float64)
