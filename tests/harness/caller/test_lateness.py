"""How late the caller was, frame by frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from turngap.caller.lateness import recv_late_ms, send_late_ms, summarise_lateness

from tests.harness.store.test_recording import START_NS, call


def test_send_lateness_counts_from_each_frames_deadline() -> None:
    """Frame k is due at the stream's start + (k + 1) * 20 ms."""
    late = call()
    late.sent_ns[2] += 3_000_000
    assert send_late_ms(late).tolist() == [0.0, 0.0, 3.0, 0.0, 0.0]


def test_receive_lateness_is_laid_over_the_frames_it_touched() -> None:
    """A loop that was away from 30 to 45 ms spoils the second and the third frame's time."""
    stalled = replace(call(), stalls=np.array([[START_NS + 45_000_000, 15_000_000]], np.int64))
    assert recv_late_ms(stalled).tolist() == [0.0, 15.0, 15.0, 0.0, 0.0]


def test_lateness_is_summarised_over_the_frames_of_all_calls() -> None:
    """Of no frames there is no summary."""
    assert summarise_lateness([]) is None
    summary = summarise_lateness([np.array([0.0, 1.0]), np.array([2.0])])
    assert summary is not None
    assert (summary.p50_ms, summary.max_ms) == (1.0, 2.0)
