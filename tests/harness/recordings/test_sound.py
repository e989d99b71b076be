"""Reading recordings: every format and rate, pairs of files, and one line for each that can't be used."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from turngap.recordings.call_talk import find_talk
from turngap.recordings.sound import open_call, read_span, scan_call
from turngap_agent.errors import UsageError

from tests.harness.recordings.dialogues import AGENT, CALLER, make_call, write_dialogue

FORMATS = [
    ("wav", "PCM_U8", 8000),
    ("wav", "PCM_16", 8000),
    ("wav", "PCM_24", 11_025),
    ("wav", "PCM_32", 16_000),
    ("wav", "FLOAT", 22_050),
    ("wav", "DOUBLE", 44_100),
    ("wav", "ULAW", 8000),
    ("wav", "ALAW", 8000),
    ("flac", "PCM_16", 48_000),
    ("ogg", "VORBIS", 16_000),
    ("ogg", "OPUS", 48_000),
    ("mp3", "MPEG_LAYER_III", 44_100),
]


@pytest.mark.parametrize(("suffix", "subtype", "rate"), FORMATS)
def test_every_format_has_the_same_edges(tmp_path: Path, suffix: str, subtype: str, rate: int) -> None:
    """Within 15 ms of the voice's own; of those that spread an edge over a block of samples, 25."""
    sound = make_call(floor_dbfs=-60)
    path = write_dialogue(tmp_path / f"call.{suffix}", sound, rate, subtype)
    talk = find_talk(open_call(path))
    within = 25 if subtype in ("VORBIS", "OPUS", "MPEG_LAYER_III") else 15
    for track, spans in zip(talk.tracks, (CALLER, AGENT), strict=True):
        assert [each.start.at_ms for each in track.stretches] == pytest.approx([a for a, _ in spans], abs=within)
        assert [each.end.at_ms for each in track.stretches] == pytest.approx([b for _, b in spans], abs=within)
    assert not talk.is_mono


def test_two_files_of_different_rates_and_lengths_are_one_call(tmp_path: Path) -> None:
    """Each has one side; the shorter one is silent where it has ended."""
    sound = make_call()
    caller = write_dialogue(tmp_path / "caller.wav", sound[: 9 * 8000, :1], 16_000)
    agent = write_dialogue(tmp_path / "agent.flac", sound[:, 1:], 48_000)
    call = open_call(caller, agent)
    talk = find_talk(call)
    assert call.is_pair
    assert [each.start.at_ms for each in talk.tracks[0].stretches] == pytest.approx([a for a, _ in CALLER], abs=10)
    assert [each.start.at_ms for each in talk.tracks[1].stretches] == pytest.approx([a for a, _ in AGENT], abs=10)
    assert talk.length_ms == pytest.approx(12_000, abs=2)


def test_a_span_is_what_lies_there(tmp_path: Path) -> None:
    """At 8 kHz, and silent past the end."""
    sound = make_call()
    call = open_call(write_dialogue(tmp_path / "call.wav", sound, subtype="FLOAT"))
    left, right = read_span(call, 2.5, 1.0)
    np.testing.assert_array_equal(left, sound[20_000:28_000, 0])
    np.testing.assert_array_equal(right, sound[20_000:28_000, 1])
    assert not np.any(read_span(call, 11.9, 2.0)[0][800:])


def test_a_long_call_needs_bounded_memory(tmp_path: Path) -> None:
    """No more than a block of samples and its power are held: 20 minutes at 16 kHz, read in blocks."""
    import tracemalloc

    minute = np.tile(make_call(), (5, 1))
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 8000, 2) as file:
        for _ in range(20):
            file.write(minute)
    call = open_call(tmp_path / "long.wav")
    tracemalloc.start()
    scan = scan_call(call)
    peak_mib = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert scan.length_ms == pytest.approx(20 * 60_000, abs=5)
    assert peak_mib < 60  # the samples alone are 73 MiB as float32


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.wav", None, "no such file"),
        ("empty.wav", b"", "cannot be read as audio"),
        ("noise.wav", bytes(range(256)) * 200, "encrypted recording has to be decrypted"),
        ("text.mp3", b"hello\n" * 100, "cannot be read as audio"),
    ],
)
def test_unreadable_files_are_one_line(tmp_path: Path, name: str, content: bytes | None, expected: str) -> None:
    """With the file's name, and what to do."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=expected) as error:
        open_call(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 3


def test_unfit_files_are_one_line(tmp_path: Path) -> None:
    """Mono, too many channels, too short, too slow a rate, samples that are no numbers, one file as both sides."""
    sound = make_call()
    cases = {
        "mono": write_dialogue(tmp_path / "mono.wav", sound[:, 0]),
        "3 channels": write_dialogue(tmp_path / "three.wav", np.repeat(sound[:, :1], 3, axis=1)),
        "0.50 s long": write_dialogue(tmp_path / "short.wav", sound[:4000]),
    }
    soundfile.write(tmp_path / "slow.wav", sound[::2], 4000)
    cases["4000 Hz"] = tmp_path / "slow.wav"
    for expected, path in cases.items():
        with pytest.raises(UsageError, match=expected):
            open_call(path)
    broken = sound.copy()
    broken[30_000, 1] = np.nan
    with pytest.raises(UsageError, match="nan or infinite"):
        scan_call(open_call(write_dialogue(tmp_path / "nan.wav", broken, subtype="FLOAT")))
    with pytest.raises(UsageError, match="both sides"):
        open_call(cases["mono"], cases["mono"])
    with pytest.raises(UsageError, match="it is to have one"):
        open_call(cases["mono"], cases["3 channels"])


def test_a_header_that_promises_days_is_refused(tmp_path: Path) -> None:
    """Nothing is read of it."""
    path = tmp_path / "days.wav"
    soundfile.write(path, np.zeros((8000, 2)), 8000, subtype="PCM_U8")
    with path.open("r+b") as file:
        os.truncate(path, 44 + 2 * 8000 * 3600 * 13)  # sparse
        file.seek(4)
        file.write((36 + 2 * 8000 * 3600 * 13).to_bytes(4, "little"))
        file.seek(40)
        file.write((2 * 8000 * 3600 * 13).to_bytes(4, "little"))
    with pytest.raises(UsageError, match="13 h long"):
        open_call(path)


@given(st.binary(max_size=400))
def test_no_bytes_end_in_another_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever follows the header of a WAV file, it is read or refused in one line."""
    path = tmp_path_factory.mktemp("bytes") / "call.wav"
    path.write_bytes(b"RIFF\xff\xff\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00" + content)
    with contextlib.suppress(UsageError):
        scan_call(open_call(path))
