"""The reference agent: its own times are true, and it is broken only in the configured way."""

from __future__ import annotations

import numpy as np
import pytest
from turngap.calibration.reference_agent import ReplyBehaviour, ReplyOrder, make_reply, make_tone, parse_order
from turngap.calibration.voice import make_voice
from turngap.caller.comfort_noise import make_comfort_noise
from turngap.caller.onset import Segment, find_onset
from turngap_agent.errors import ProtocolError


def test_an_order_survives_the_pipe() -> None:
    """What the harness writes is what the reference agent reads."""
    order = ReplyOrder("CA1", 3, 77, 150.5, 120.0, ReplyBehaviour.STALL)
    assert parse_order(order.to_json()) == order


@pytest.mark.parametrize(
    "line", ["", "{}", "[1]", "no json", '{"call_sid": "CA", "turn": 0, "chunk": "x", "delay_ms": 1}']
)
def test_a_malformed_order_is_one_line(line: str) -> None:
    """A malformed order is refused, with what was given."""
    with pytest.raises(ProtocolError, match="not an order"):
        parse_order(line)


def test_the_tone_is_loud_from_its_first_sample() -> None:
    """The onset of an answer is its first sample, not a ramp."""
    pcm = make_tone(100)
    assert len(pcm) == 800
    assert pcm[0] == np.abs(pcm).max()


@pytest.mark.parametrize(
    ("behaviour", "onset_ms"),
    [
        (ReplyBehaviour.EXACT, 100 / 8),
        (ReplyBehaviour.EARLY, 100 / 8),
        (ReplyBehaviour.STALL, 0),
        (ReplyBehaviour.SILENT_HEAD, 1500),
        (ReplyBehaviour.NEVER, None),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_each_behaviour_is_audible_when_it_says(behaviour: ReplyBehaviour, onset_ms: float | None, seed: int) -> None:
    """A silent head delays the first sound, a stall does not, silence has none; the reply says which sample it is."""
    reply = make_reply(behaviour, make_voice(3200, seed), make_comfort_noise(100, "line"))
    segments = [Segment(round(after_ms * 1e6), pcm) for after_ms, pcm in reply.pieces]
    onset_ns = find_onset(segments, 0)
    if onset_ms is None:
        assert onset_ns is None
    else:
        assert reply.onset_sample / 8 == onset_ms
        assert onset_ns is not None
        assert onset_ns / 1e6 == pytest.approx(onset_ms, abs=0.25)
