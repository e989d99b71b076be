"""Windows: frames of any length become the 32 ms windows a detector takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.endpointing.windows import SILENT_DBFS, WINDOW_SAMPLES, Windows, level_dbfs


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


def test_levels_are_without_the_offset() -> None:
    """RMS re full scale; a constant, and nothing at all, are silence."""
    square = np.resize([1, -1], 800) * 3277
    assert level_dbfs(square.astype(np.int16)) == pytest.approx(-20, abs=0.01)
    assert level_dbfs((square + 9000).astype(np.int16)) == pytest.approx(-20, abs=0.01)
    assert level_dbfs(np.full(256, 9000, np.int16)) == SILENT_DBFS
    assert level_dbfs(np.zeros(0, np.int16)) == SILENT_DBFS
