"""Audio at 16 kHz keeps its times when it becomes 8 kHz, in whatever messages it comes; 8 kHz stays as it is."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.dialects.audio import MULAW, AudioDecoder, AudioFormat, count_samples, double_rate, halve_rate
from turngap.caller.onset import Segment, find_onset
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import mulaw

L16, WIDE = AudioFormat("l16"), AudioFormat("l16", 16000)


def tone(samples: int, rate: int, hz: float = 700.0) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.round(10_000 * np.sin(2 * np.pi * hz * np.arange(samples) / rate)).astype(np.int16)


@given(st.integers(0, 3200), st.integers(1, 40))
def test_audio_in_messages_of_20_ms_is_the_audio_in_one(start: int, messages: int) -> None:
    """But for the edge of each message: under 3 % of the level where audio goes on, nothing at 8 kHz."""
    whole = tone(640 * messages, 16000)[start % 320 :]
    joined = halve_rate(whole, np.zeros(0, np.int16))
    decoder = AudioDecoder()
    parts = [
        pcm
        for at in range(0, len(whole), 320)
        for pcm in decoder.pieces(whole[at : at + 320].tobytes(), WIDE, continues=at > 0)
    ]
    assert np.abs(np.concatenate(parts).astype(int) - joined).max() <= 700
    narrow = AudioDecoder()
    parts = [
        pcm
        for at in range(0, len(whole), 320)
        for pcm in narrow.pieces(whole[at : at + 320].tobytes(), L16, continues=at > 0)
    ]
    assert np.array_equal(np.concatenate(parts), whole)


@given(st.integers(0, 1599), st.floats(200, 3000), st.floats(0, 2 * np.pi))
def test_an_onset_at_16_khz_moves_by_less_than_a_millisecond(start: int, hz: float, phase: float) -> None:
    """Wherever it lies and whatever its phase."""
    sound = 10_000 * np.cos(2 * np.pi * hz * np.arange(6400) / 16000 + phase)
    wide = np.concatenate([np.zeros(start), sound]).astype(np.int16)
    at_8_khz = halve_rate(wide, np.zeros(0, np.int16))
    onset_ns = find_onset([Segment(0, at_8_khz)])
    assert onset_ns is not None
    assert abs(onset_ns - start * 62_500) < 1_000_000


@given(st.integers(1, 30))
def test_doubling_and_halving_give_the_same_audio(frames: int) -> None:
    """At the same times, frame by frame."""
    pcm, before, wide = tone(160 * frames, 8000), np.zeros(0, np.int16), []
    for at in range(0, len(pcm), 160):
        wide.append(double_rate(pcm[at : at + 160], before))
        before = pcm[at : at + 160]
    back = halve_rate(np.concatenate(wide), np.zeros(0, np.int16))
    assert len(back) == len(pcm)
    assert np.abs(back[:-24].astype(int) - pcm[:-24]).mean() < 300
    assert np.abs(back[:-24].astype(int) - pcm[:-24]).max(initial=0) < 1500


@given(st.integers(0, 40_000))
def test_long_audio_comes_in_pieces_of_a_second(samples: int) -> None:
    """Whole groups of base64 and whole samples; together they are the audio."""
    data = np.random.default_rng(1).integers(0, 256, samples, np.uint8).tobytes()
    for payload in (base64.b64encode(data).decode(), data):
        pieces = list(AudioDecoder().pieces(payload, MULAW, continues=False))
        assert all(len(piece) <= 8000 for piece in pieces)
        assert np.array_equal(np.concatenate(pieces), mulaw.decode(data))
        assert abs(count_samples(payload, MULAW) - samples) <= 2


def test_what_is_not_base64_is_refused() -> None:
    """By name, as in one of Twilio's messages."""
    with pytest.raises(ProtocolError, match="not base64"):
        list(AudioDecoder().pieces("*!", MULAW, continues=False))


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (base64.encodebytes(bytes(200)).decode(), "line breaks"),
        (base64.encodebytes(bytes(200)).decode().replace("\n", "\\n"), "line breaks"),
        (base64.urlsafe_b64encode(b"\xff\xfe\xfb" * 20).decode(), "URL-safe"),
        (base64.b64encode(bytes(200)).decode().rstrip("="), "padding"),
        ("data:audio/x-mulaw;base64,AAAA", "data URL"),
    ],
)
def test_what_is_almost_base64_is_named(payload: str, named: str) -> None:
    """What encoders do by another function or option, each with its remedy."""
    with pytest.raises(ProtocolError, match=rf"not base64 \(.*{named}"):
        list(AudioDecoder().pieces(payload, MULAW, continues=False))
