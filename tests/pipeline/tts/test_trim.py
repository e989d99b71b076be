"""The silence trimmer: how much silence is kept, what is never changed, and independence of the pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.tts import AudioF32
from turngap_agent.tts.trim import FRAME_MS, SilenceTrimmer

RATE = 24_000
FRAME = FRAME_MS * RATE // 1000


def noise(milliseconds: float, dbfs: float) -> AudioF32:
    return tone(milliseconds, dbfs, 310.0)


def tone(milliseconds: float, dbfs: float, hertz: float) -> AudioF32:
    at = np.arange(round(milliseconds * RATE / 1000)) / RATE
    return np.asarray(np.sqrt(2) * 10 ** (dbfs / 20) * np.sin(2 * np.pi * hertz * at), np.float32)


def trim(audio: AudioF32, *cuts: int) -> AudioF32:
    trimmer = SilenceTrimmer(RATE)
    pieces = [trimmer.push(piece) for piece in np.split(audio, sorted(cuts))]
    return np.concatenate([*pieces, trimmer.flush()])


def silent_ms(audio: AudioF32) -> int:
    """Return the milliseconds of quiet frames at the start."""
    frames = audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME)
    loud = np.sqrt(np.mean(np.square(frames), axis=1)) > 10 ** (-45 / 20)
    return int(np.argmax(loud)) * FRAME_MS


def test_both_ends_are_cut() -> None:
    """Of 300 ms and 450 ms of near-silence at most 20 and 80 stay; the sound between is whole."""
    sound = noise(500, -20)
    audio = trim(np.concatenate([noise(300, -55), sound, noise(450, -60)]))
    assert 0 < silent_ms(audio) <= 20
    assert 0 < silent_ms(audio[::-1]) <= 80
    middle = sound[FRAME:-FRAME]
    at = np.argmax(np.correlate(audio, middle, "valid"))
    np.testing.assert_array_equal(audio[at : at + len(middle)], middle)


def test_less_silence_than_that_is_kept() -> None:
    """A clause with nothing to cut passes unchanged, not even faded."""
    audio = np.concatenate([noise(10, -60), noise(500, -20), noise(80, -60)])
    np.testing.assert_array_equal(trim(audio), audio)


def test_the_start_does_not_wait_for_the_clause() -> None:
    """Sound is returned as soon as there are 30 ms of it."""
    trimmer = SilenceTrimmer(RATE)
    assert len(trimmer.push(noise(300, -60))) == 0
    assert len(trimmer.push(noise(40, -20))) >= 30 * RATE // 1000


def test_pauses_inside_are_kept() -> None:
    """Silence that more sound follows is returned whole, with that sound."""
    audio = np.concatenate([noise(200, -20), noise(400, -60), noise(200, -20)])
    trimmer = SilenceTrimmer(RATE)
    first = trimmer.push(audio[: 500 * RATE // 1000])
    assert len(first) <= 210 * RATE // 1000
    rest = trimmer.push(audio[500 * RATE // 1000 :])
    np.testing.assert_array_equal(np.concatenate([first, rest, trimmer.flush()]), audio)


def test_cuts_do_not_click() -> None:
    """However loud the near-silence that is cut, the clause starts and ends near zero."""
    audio = trim(np.concatenate([noise(300, -46), noise(300, -20), noise(300, -46)]))
    assert abs(audio[0]) < 1e-4
    assert abs(audio[-1]) < 1e-4


def test_a_puff_before_the_voice_is_no_start() -> None:
    """10 ms of a plosive, 80 ms before its vowel, would leave the caller in silence after it."""
    audio = trim(np.concatenate([noise(200, -60), noise(10, -40), noise(80, -60), noise(300, -20)]))
    assert silent_ms(audio) <= 20
    assert len(audio) <= 330 * RATE // 1000


def test_sound_outside_the_telephones_band_is_silence() -> None:
    """A loud hiss above it does not start a clause."""
    audio = trim(np.concatenate([tone(200, -25, 7000), noise(300, -20)]))
    assert len(audio) <= 330 * RATE // 1000


def test_a_clause_shorter_than_an_onset_is_kept() -> None:
    """20 ms of sound alone are returned at the end."""
    assert silent_ms(trim(np.concatenate([noise(200, -60), noise(20, -20), noise(200, -60)]))) <= 20


@pytest.mark.parametrize("milliseconds", [0, 5, 1000])
def test_silence_alone_is_dropped(milliseconds: int) -> None:
    """Nothing is returned."""
    assert len(trim(noise(milliseconds, -60))) == 0


@given(
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from([-70, -50, -44, -20])), max_size=6),
    st.lists(st.integers(0, 20_000), max_size=5),
)
def test_pieces_do_not_matter(parts: list[tuple[int, int]], cuts: list[int]) -> None:
    """The result is the same however the audio is cut; a trimmer that was flushed is like a new one."""
    audio = np.concatenate([np.zeros(0, np.float32), *(noise(ms, dbfs) for ms, dbfs in parts)])
    expected = trim(audio)
    np.testing.assert_array_equal(trim(audio, *cuts), expected)
    trimmer = SilenceTrimmer(RATE)
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([trimmer.push(audio), trimmer.flush()]), expected)
