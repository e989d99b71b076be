"""Echo: what the caller's end played comes back, weaker, later, to the sample, and never what was cleared."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.echo import EchoPath
from turngap.caller.playout import Playout, segments
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import Pcm16
from turngap.scenario import Echo
from turngap_agent.telephony import FRAME_NS, FRAME_SAMPLES

START = 7_000_000_000
PIECES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 900), st.booleans()), min_size=1, max_size=12
)  # frames to wait, samples, whether a clear comes first


def tone(samples: int) -> Pcm16:
    return (np.sin(np.arange(samples) / 2) * 8000 + 50).astype(np.int16)


def played(playout: Playout, frames: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What was played, from the stream's start, on the sample grid."""
    line = np.zeros(frames * FRAME_SAMPLES + 20_000)
    for segment in segments(playout.received):
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
        echo = path.frame(START + frame * FRAME_NS)
        heard.append(np.zeros(FRAME_SAMPLES) if echo is None else echo)
    delay = delay_ms * 8
    expected = np.concatenate([np.zeros(delay), played(playout, frames)])[: frames * FRAME_SAMPLES]
    assert np.abs(np.concatenate(heard) - expected * 10 ** (-attenuation / 20)).max() <= 0.51


def test_a_cleared_buffer_does_not_hide_what_comes_after_it() -> None:
    """Ten seconds were buffered and cleared; the next reply echoes at its own time."""
    playout = Playout()
    path = EchoPath(Echo(delay_ms=100), playout)
    for _ in range(10):
        playout.receive(tone(8000), START)
    playout.clear(START + 200 * NS_PER_MS)
    playout.receive(tone(1600), START + 400 * NS_PER_MS)
    loud = [k for k in range(60) if (echo := path.frame(START + k * FRAME_NS)) is not None and echo.any()]
    assert loud == [*range(5, 15), *range(25, 35)]
