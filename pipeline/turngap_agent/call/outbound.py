"""The agent's audio on its way to the caller: audio, marks and `clear` in order, and how much of it was heard.

Twilio's stream cannot be paused. A pause is a `clear`; the samples that it discards are kept here. Resuming sends them
again from the first one that was not heard, followed by what the reply has produced since.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import numpy as np

from turngap_agent import clock
from turngap_agent.call.encoding import LATER_SAMPLES
from turngap_agent.call.playback import Playback, PlayedLevels
from turngap_agent.inject import DelayLine
from turngap_agent.profile.sections import BargeInSettings
from turngap_agent.telephony import mulaw
from turngap_agent.telephony.messages import Clear, OutboundMark, OutboundMedia

FADE_SAMPLES = 32
"""4 ms: speech that resumes in the middle of a wave would click."""


class OutboundAudio:
    """Sends to one stream. `send` takes one text message; an error it raises ends the reply that was being sent."""

    def __init__(
        self, stream_sid: str, send: Callable[[str], Awaitable[None]], settings: BargeInSettings, delay_ns: int = 0
    ) -> None:
        self._stream_sid = stream_sid
        self._out = DelayLine(delay_ns, send)
        self._playback = Playback()
        self._sent = bytearray()
        """The end of what was sent: all that is unheard, and perhaps some before it."""
        self._paused = False
        self._held: deque[bytes | str] = deque()
        """What waits for the end of a pause: audio, a message's worth each, and names of marks."""
        self.levels = PlayedLevels(settings)

    @property
    def delay_line(self) -> DelayLine[str]:
        """The way to the socket; its `run` must be running if it `needs_task`."""
        return self._out

    @property
    def unheard_samples(self) -> int:
        """Samples that were played here and that the caller has not heard, held ones included."""
        held = sum(len(item) for item in self._held if isinstance(item, bytes))
        return held + self._playback.unheard_samples(clock.now_ns())

    def message(self, payload: bytes) -> str:
        """Return the wire message that carries `payload`."""
        return OutboundMedia(self._stream_sid, payload).to_json()

    async def play(self, message: str, payload: bytes) -> int:
        """Send `message`, which carries `payload`; return the time just before it was handed over."""
        if self._paused or self._held:
            self._held.append(payload)
            return clock.now_ns()
        return await self._play(message, payload)

    async def mark(self, name: str) -> None:
        """Ask for an echo when all audio so far has played."""
        if self._paused or self._held:
            self._held.append(name)
        else:
            await self._mark(name)

    def take_echo(self, name: str) -> bool:
        """Note that a mark came back; return False if none of that name was sent."""
        return self._playback.take_echo(name, clock.now_ns())

    async def pause(self) -> int:
        """Silence the agent at once; hold what was not heard and all that is played until `resume`. Return the time."""
        now_ns = clock.now_ns()
        if not self._paused:
            self._paused = True
            rest = bytes(self._sent[len(self._sent) - self._playback.unheard_samples(now_ns) :])
            pieces = [rest[at : at + LATER_SAMPLES] for at in range(0, len(rest), LATER_SAMPLES)]
            self._held.extendleft(reversed([*pieces, *self._playback.pending_marks]))
            await self._clear(now_ns)
        return now_ns

    async def resume(self) -> int:
        """Send what was held, from the first sample that was not heard; return the time."""
        now_ns, self._paused, first = clock.now_ns(), False, True
        while self._held and not self._paused:  # a reply may add more meanwhile
            item = self._held.popleft()
            if isinstance(item, str):
                await self._mark(item)
                continue
            item, first = _fade_in(item) if first else item, False
            await self._play(self.message(item), item)
        return now_ns

    async def clear(self) -> None:
        """Silence the agent at once and for good: nothing is held."""
        silent, self._paused = self._paused, False
        self._held.clear()
        if not silent:
            await self._clear(clock.now_ns())

    async def _play(self, message: str, payload: bytes) -> int:
        handed_ns = clock.now_ns()
        del self._sent[: len(self._sent) - self._playback.unheard_samples(handed_ns)]
        self._sent += payload
        self.levels.add(payload, self._playback.add_audio(len(payload), handed_ns))
        await self._out.put(message)
        return handed_ns

    async def _mark(self, name: str) -> None:
        self._playback.add_mark(name)
        await self._out.put(OutboundMark(self._stream_sid, name).to_json())

    async def _clear(self, now_ns: int) -> None:
        self.levels.cut(now_ns)
        self._sent.clear()
        self._playback.clear(now_ns)
        await self._out.put(Clear(self._stream_sid).to_json())


def _fade_in(payload: bytes) -> bytes:
    head = mulaw.decode(payload[:FADE_SAMPLES])
    ramp = (np.arange(len(head)) + 0.5) / FADE_SAMPLES
    return mulaw.encode(np.rint(head * ramp).astype(np.int16)) + payload[FADE_SAMPLES:]
