"""The agent's side of one call's socket: audio, marks and `clear` out, in order, and what of it was heard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pipeline import clock
from pipeline.call.playback import Playback
from pipeline.inject import DelayLine
from pipeline.telephony.messages import Clear, OutboundMark, OutboundMedia


class Line:
    """Sends to one stream. `send` takes one text message; what it raises ends the reply that was being sent."""

    def __init__(self, stream_sid: str, send: Callable[[str], Awaitable[None]], delay_ns: int = 0) -> None:
        self._stream_sid = stream_sid
        self._out = DelayLine(delay_ns, send)
        self.playback = Playback()

    @property
    def delayed(self) -> DelayLine[str]:
        """The way to the socket; its `run` must be going where it `needs_task`."""
        return self._out

    def message(self, payload: bytes) -> str:
        """The wire message that carries `payload`."""
        return OutboundMedia(self._stream_sid, payload).to_json()

    async def play(self, message: str, samples: int) -> int:
        """Send a message made by `message`, of so many samples; gives the time just before it was handed over."""
        handed_ns = clock.now_ns()
        self.playback.sent(samples, handed_ns)
        await self._out.put(message)
        return handed_ns

    async def mark(self, name: str) -> None:
        """Ask for an echo when all audio so far has played."""
        self.playback.marked(name)
        await self._out.put(OutboundMark(self._stream_sid, name).to_json())

    async def clear(self) -> None:
        """Silence the agent at once."""
        self.playback.cleared(clock.now_ns())
        await self._out.put(Clear(self._stream_sid).to_json())
