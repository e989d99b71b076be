"""Audio that is not μ-law at 8 kHz is named by what it is; what is, has no fault."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from turngap.calibration.voice import make_voice
from turngap.caller.alaw import alaw_values
from turngap.findings.encoding import find_encoding_faults
from turngap.model.finding import FindingKind
from turngap.model.records import Pcm16
from turngap_agent.telephony import mulaw

from tests.harness import ambience
from tests.harness.findings.voices import talk
from tests.harness.session.misbehaving import encode_alaw, in_pieces

SOUNDS = {
    "talk": talk(8_000, 120.0),
    "high talk": talk(8_000, 220.0),
    "voice": make_voice(24_000, 3, -20.0),
    "faint talk": (talk(8_000, 150.0) / 8).astype(np.int16),
    "music": ambience.music(4_000, -20.0),
}


def kinds(data: bytes, size: int = 1_600) -> dict[FindingKind, int]:
    """What is found in a call whose messages have these bytes, `size` each, decoded as μ-law: its kinds and counts."""
    messages = [mulaw.decode(piece) for piece in in_pieces(data, size)]
    return {finding.kind: finding.count for finding in find_encoding_faults(messages)}


@pytest.mark.parametrize("name", list(SOUNDS))
def test_mulaw_has_no_fault(name: str) -> None:
    """Speech, a synthetic voice and music."""
    assert kinds(mulaw.encode(SOUNDS[name])) == {}


@pytest.mark.parametrize("name", ["talk", "high talk", "voice", "faint talk"])
def test_alaw_is_named(name: str) -> None:
    """All messages are counted."""
    data = encode_alaw(SOUNDS[name])
    assert kinds(data) == {FindingKind.ALAW: len(in_pieces(data, 1_600))}


def test_alaw_is_decoded_as_the_standard_says() -> None:
    """G.711's ends and its smallest values; a code is its value's nearest."""
    values = alaw_values()
    assert (values[0xD5], values[0x55]) == (8.0, -8.0)
    assert (values[0xAA], values[0x2A]) == (32_256.0, -32_256.0)
    assert encode_alaw(values.astype(np.int16)) == bytes(range(256))


@pytest.mark.parametrize("name", ["talk", "high talk", "voice"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_linear_pcm_is_named_with_its_byte_order(name: str, order: str) -> None:
    """Of any length of message, an odd one too."""
    kind = FindingKind.LINEAR_PCM if order == "<" else FindingKind.LINEAR_PCM_SWAPPED
    data = SOUNDS[name].astype(f"{order}i2").tobytes()
    for size in (320, 1_601, len(data)):
        assert list(kinds(data, size)) == [kind]


@pytest.mark.parametrize("name", ["talk", "high talk"])
def test_swapped_bytes_on_a_line_of_linear_pcm_are_named(name: str) -> None:
    """A dialect of 16-bit frames: its samples come with their bytes exchanged."""
    pcm: Pcm16 = SOUNDS[name].byteswap()
    assert [finding.kind for finding in find_encoding_faults([pcm])] == [FindingKind.BYTE_SWAPPED]
    assert find_encoding_faults([SOUNDS[name]]) == []


def test_base64_twice_is_named() -> None:
    """The bytes of a payload are letters and digits only."""
    data = base64.b64encode(mulaw.encode(SOUNDS["talk"]))
    assert list(kinds(data)) == [FindingKind.BASE64_TWICE]


def test_a_call_with_little_audio_has_no_fault() -> None:
    """199 ms say nothing of an encoding, whatever they are."""
    assert kinds(SOUNDS["talk"].tobytes()[:1_592]) == {}
    assert find_encoding_faults([]) == []
