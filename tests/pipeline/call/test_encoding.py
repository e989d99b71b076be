"""PCM to payloads: small first, nothing lost, nothing held back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.call.encoding import FADE_SAMPLES, FIRST_SAMPLES, LATER_SAMPLES, ReplyEncoder
from turngap_agent.resample import Downsampler
from turngap_agent.telephony import mulaw

RATE = 24_000


def tone(samples: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(samples) / RATE)).astype(np.float32)


@given(cuts=st.lists(st.integers(0, 30_000), max_size=5))
def test_the_audio_does_not_depend_on_the_pieces(cuts):
    """However a clause is cut into pieces, the bytes on the line are the same, and as many as its length asks."""
    pcm = tone(30_000)
    whole = ReplyEncoder(RATE)
    expected = b"".join([*whole.push(pcm), *whole.flush()])
    encoder = ReplyEncoder(RATE)
    pieces = np.split(pcm, sorted(cuts))
    payloads = [payload for piece in pieces for payload in encoder.push(piece)] + list(encoder.flush())
    assert b"".join(payloads) == expected
    assert len(expected) == 10_000
    assert max(map(len, payloads)) <= LATER_SAMPLES
    assert 0 < len(payloads[0]) <= FIRST_SAMPLES


def test_a_long_piece_fills_the_first_message():
    """The first message of a long piece is 40 ms, exactly."""
    assert len(next(ReplyEncoder(RATE).push(tone(RATE)))) == FIRST_SAMPLES


def test_a_clause_is_not_held_back_for_the_next():
    """Flushed, a clause is complete, and the next one begins anew."""
    encoder = ReplyEncoder(RATE)
    first = b"".join([*encoder.push(tone(2400)), *encoder.flush()])
    second = b"".join([*encoder.push(tone(2400)), *encoder.flush()])
    assert first == second
    assert len(first) == 800


@pytest.mark.parametrize("samples", [0, 1, 320, 5000])
def test_injected_silence_is_first(samples):
    """`lead_in` silence precedes the first audio, once."""
    encoder, plain = ReplyEncoder(RATE, samples), ReplyEncoder(RATE)
    assert b"".join(encoder.push(tone(2400))) == mulaw.SILENCE * samples + b"".join(plain.push(tone(2400)))


@pytest.mark.parametrize("rate", [16_000, 24_000])
@pytest.mark.parametrize("cut", [100, 777, 2400])
def test_clauses_join_without_a_click(rate, cut):
    """Clauses that begin and end at the crest of a loud wave: no step between them is larger than the wave's own."""
    wave = (0.7 * np.cos(2 * np.pi * 440 * np.arange(3 * rate // 10) / rate)).astype(np.float32)
    encoder = ReplyEncoder(rate)
    clauses = [wave, wave[:cut], -wave]
    line = b"".join(payload for clause in clauses for payload in (*encoder.push(clause), *encoder.flush()))
    pcm = np.concatenate([[0], mulaw.decode(line).astype(int), [0]])
    own = np.abs(np.diff(0.7 * 32_767 * np.cos(2 * np.pi * 440 * np.arange(800) / 8000))).max()
    assert np.abs(np.diff(pcm)).max() < 1.2 * own


def test_a_clause_is_whole_between_its_ends():
    """But for 1.5 ms at each end the fades change nothing."""
    pcm = tone(RATE)
    down = Downsampler(RATE)
    plain = np.concatenate([down.push(pcm), down.flush()])
    encoder = ReplyEncoder(RATE)
    line = b"".join([*encoder.push(pcm), *encoder.flush()])
    assert line[FADE_SAMPLES:-FADE_SAMPLES] == mulaw.encode(plain)[FADE_SAMPLES:-FADE_SAMPLES]


def test_no_audio_makes_no_payload():
    """An empty piece makes no message, not even of injected silence."""
    encoder = ReplyEncoder(RATE, 320)
    assert list(encoder.push(np.zeros(0, np.float32))) == []
