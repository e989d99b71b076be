"""A bad line: each degradation does what it says to the samples, and the default line does nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.impairments import EchoPath, ImpairedLine
from turngap.caller.playout import Playout, played_segments
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import Pcm16
from turngap.scenario import Echo, LineImpairments
from turngap_agent.telephony import FRAME_NS, FRAME_SAMPLES

FRAMES = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(-8000, 8000, 160).astype(np.int16)
)


def carried(pcm: Pcm16, seed: str = "1", **keys: Any) -> Pcm16:
    return ImpairedLine(LineImpairments.model_validate(keys), Playout(), seed).apply(pcm, 0, 0)


@given(FRAMES)
def test_a_clean_line_hands_frames_on(pcm: Pcm16) -> None:
    """Untouched, also where frames are lost: the others are whole."""
    assert carried(pcm) is pcm
    assert carried(pcm, loss_percent=10) is pcm


@given(FRAMES, st.floats(-40, 12))
def test_level_is_a_gain(pcm: Pcm16, level_db: float) -> None:
    """Within rounding, as long as nothing is clipped."""
    assert np.abs(carried(pcm, level_db=level_db) - pcm * 10 ** (level_db / 20)).max() <= 0.51


@given(FRAMES, st.floats(-40, 0), st.floats(-0.5, 0.5), st.floats(-40, 20))
def test_nothing_passes_the_clipping_level(pcm: Pcm16, clip: float, dc: float, level: float) -> None:
    """With an offset and a gain before it, peaks are cut where the line cuts them; int16 never wraps."""
    out = carried(pcm, clip_dbfs=clip, dc_offset=dc, level_db=level).astype(int)
    assert np.abs(out).max() <= 32_768 * 10 ** (clip / 20) + 1
    free = pcm * 10 ** (level / 20) + dc * 32_768
    limit = min(32_767, 32_768 * 10 ** (clip / 20))
    inside = np.abs(free) < limit - 1
    assert np.abs(out[inside] - free[inside]).max(initial=0) <= 0.51


@given(FRAMES, st.floats(-0.4, 0.4))
def test_an_offset_moves_the_mean(pcm: Pcm16, dc: float) -> None:
    """By its part of full scale."""
    assert abs((carried(pcm, dc_offset=dc) - pcm.astype(float)).mean() - dc * 32_768) <= 0.51


def test_line_noise_has_its_level_and_is_seeded() -> None:
    """RMS over two seconds within half a dB; the same seed makes the same line."""
    lines = [ImpairedLine(LineImpairments(noise_dbfs=-45), Playout(), seed) for seed in ("a", "a", "b")]
    one, same, other = (
        np.concatenate([line.apply(np.zeros(160, np.int16), k, 0) for k in range(100)]) for line in lines
    )
    assert abs(20 * np.log10(np.sqrt(np.mean(one.astype(float) ** 2)) / 32_768) + 45) < 0.5
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_configured_share_of_frames_is_lost() -> None:
    """5 % of 20,000 within a tenth of that, the same for the same seed; none on a whole line."""
    lossy, same = (ImpairedLine(LineImpairments(loss_percent=5), Playout(), "a") for _ in range(2))
    lost = [lossy.draw_loss() for _ in range(20_000)]
    assert 900 < sum(lost) < 1100
    assert lost == [same.draw_loss() for _ in range(20_000)]
    whole = ImpairedLine(LineImpairments(), Playout(), "a")
    assert not any(whole.draw_loss() for _ in range(100))


START = 7_000_000_000
PIECES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 900), st.booleans()), min_size=1, max_size=12
)  # frames to wait, samples, whether a clear is first


def tone(samples: int) -> Pcm16:
    return (np.sin(np.arange(samples) / 2) * 8000 + 50).astype(np.int16)


def lay_out_playout(playout: Playout, frames: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What was played, from the stream's start, on the sample grid."""
    line = np.zeros(frames * FRAME_SAMPLES + 20_000)
    for segment in played_segments(playout.received):
        at = round((segment.start_ns - START) / NS_PER_SAMPLE)
        line[at : at + len(segment.pcm)] = segment.pcm
    return line[: frames * FRAME_SAMPLES]


@given(PIECES, st.integers(20, 40), st.integers(20, 250))
def test_the_echo_is_what_was_played(pieces: list[tuple[int, int, bool]], attenuation: int, delay_ms: int) -> None:
    """Message by message, clears and holes included: the playout delayed and turned down, within rounding."""
    playout = Playout()
    path = EchoPath(Echo(attenuation_db=attenuation, delay_ms=delay_ms), playout)
    due = {sum(wait for wait, _, _ in pieces[: n + 1]): piece for n, piece in enumerate(pieces)}
    frames = max(due) + 80
    heard = []
    for frame in range(frames):
        if frame in due:
            _, samples, clears = due[frame]
            now_ns = START + frame * FRAME_NS + 5 * NS_PER_MS
            if clears:
                playout.clear(now_ns)
            playout.receive(tone(samples), now_ns)
        echo = path.read_frame(START + frame * FRAME_NS)
        heard.append(np.zeros(FRAME_SAMPLES) if echo is None else echo)
    delay = delay_ms * 8
    expected = np.concatenate([np.zeros(delay), lay_out_playout(playout, frames)])[: frames * FRAME_SAMPLES]
    assert np.abs(np.concatenate(heard) - expected * 10 ** (-attenuation / 20)).max() <= 0.51


def test_a_cleared_buffer_does_not_hide_later_audio() -> None:
    """Ten seconds were buffered and cleared; the next reply echoes at its own time."""
    playout = Playout()
    path = EchoPath(Echo(delay_ms=100), playout)
    for _ in range(10):
        playout.receive(tone(8000), START)
    playout.clear(START + 200 * NS_PER_MS)
    playout.receive(tone(1600), START + 400 * NS_PER_MS)
    loud = [k for k in range(60) if (echo := path.read_frame(START + k * FRAME_NS)) is not None and echo.any()]
    assert loud == [*range(5, 15), *range(25, 35)]


def test_a_line_that_suppresses_silence_sends_speech_and_a_little_after_it() -> None:
    """Nothing before the caller speaks, two frames after the last audible one, nothing after those."""
    line = ImpairedLine(LineImpairments(suppress_silence=True), Playout(), "a")
    loud, quiet = np.full(160, 3000, np.int16), np.full(160, 20, np.int16)
    frames = [quiet] * 3 + [loud] * 2 + [quiet] * 5 + [loud]
    assert [line.is_suppressed(pcm) for pcm in frames] == [True] * 3 + [False] * 4 + [True] * 3 + [False]


def test_an_ordinary_line_suppresses_nothing() -> None:
    """Silence is sent as comfort noise."""
    line = ImpairedLine(LineImpairments(), Playout(), "a")
    assert not any(line.is_suppressed(np.zeros(160, np.int16)) for _ in range(50))
