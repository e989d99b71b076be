"""Windows: frames of any length become the 32 ms windows a detector takes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.endpointing.windows import WINDOW_SAMPLES, Windows


@given(st.lists(st.integers(0, 700), max_size=12))
def test_windows_hold_the_stream_in_order(lengths: list[int]) -> None:
    """Whatever the frames, the windows are the stream cut every 256 samples, each with the position after it."""
    stream = np.arange(sum(lengths)).astype(np.int16)
    windows, at, cutter = [], 0, Windows()
    for length in lengths:
        windows += cutter.push(stream[at : at + length])
        at += length
    full = len(stream) // WINDOW_SAMPLES
    assert [end for end, _ in windows] == [WINDOW_SAMPLES * (n + 1) for n in range(full)]
    joined = np.concatenate([window for _, window in windows] or [np.zeros(0, np.int16)])
    np.testing.assert_array_equal(joined, stream[: full * WINDOW_SAMPLES])
