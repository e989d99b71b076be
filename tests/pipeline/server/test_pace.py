"""How fast a caller may send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.server import media_socket
from turngap_agent.server.pace import InboundPace
from turngap_agent.telephony.messages import InboundMark

S = 1_000_000_000


@given(st.integers(1, 200), st.integers(1, 3600))
def test_real_time_is_never_too_fast(frame_ms: int, seconds: int) -> None:
    """Whatever the length of the frames and of the call."""
    pace = InboundPace(burst_s=1, start_ns=5 * S)
    frames = min(seconds * 1000 // frame_ms, 2000)
    if frame_ms >= 20 / 8:
        assert not any(pace.excess(frame_ms, 5 * S + n * frame_ms * 1_000_000) for n in range(frames))


def test_a_burst_is_allowed_once() -> None:
    """Ten seconds ahead of time may come at once; the next frame is one too many until time has passed."""
    pace = InboundPace(burst_s=10, start_ns=0)
    assert not any(pace.excess(20, 0) for _ in range(500))
    assert "10.0 s of audio in 0.0 s" in pace.excess(20, 0)
    assert pace.excess(20, S) == ""


def test_messages_without_audio_count_too() -> None:
    """Marks, keys and nonsense at any rate would keep the event loop as busy as audio."""
    pace = InboundPace(burst_s=1, start_ns=0)
    assert "401 messages" in next(text for _ in range(1000) if (text := pace.excess(0, 0)))


@pytest.mark.anyio
async def test_a_flood_is_closed_and_others_are_answered(serve):
    """50 times real time, and a storm of marks: each costs its own call."""
    async with serve("limits.burst_s=2", "limits.simultaneous_calls=3") as served:
        async with served.phone("1") as flooding, served.phone("2") as storming, served.phone("3") as healthy:
            await healthy.ask()
            await flooding.hush(3000)
            code, reason = await flooding.closed()
            assert (code, "faster than real time" in reason) == (media_socket.POLICY, True)
            for _ in range(1000):
                await storming.send(InboundMark("MZ2", 1, "x"))
            code, reason = await storming.closed()
            assert (code, "too many" in reason) == (media_socket.POLICY, True)
            assert (await healthy.reply())[1]
        await served.idle()
        assert served.count("turngap_calls_total", result="flooded") == 2
