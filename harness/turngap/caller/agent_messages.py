"""What the agent sends in one call: audio into the playout, marks echoed when due, protocol errors kept as warnings.

Each step takes some 0.1 ms at most, whatever the agent sends: long audio is decoded a second at a time, and due marks
are echoed a few at a time. Messages that come meanwhile wait, each with the time at which it came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import mulaw

from turngap.caller.connection import Message
from turngap.caller.dialects import AgentAudio, AgentClear, AgentHangUp, AgentMark, Dialect, Wire
from turngap.caller.dialects.audio import AudioDecoder, count_samples
from turngap.caller.dialects.registry import describe_buffer
from turngap.caller.long_message import AnyMessage, LongMessage
from turngap.caller.network_link import CallAt, NetworkLink
from turngap.caller.playout import Playout
from turngap.caller.traffic import Refused
from turngap.clock import Clock

STEP_NS = 1_000_000
"""Between steps: the event loop must not be busy all the time (`connection.PAUSE_S`)."""
MESSAGES_AT_ONCE, BUDGET_NS = 4, 250_000
"""Messages that have waited, handled in one step: so many at most, and no further one once that time is spent."""
ECHO_NS = 10_000_000
"""Between steps in which marks are echoed; long enough for the scheduler to sleep rather than to spin."""
MARKS_AT_ONCE = 8
"""Marks echoed in one step: each is a message to be written."""
UNHEARD_MESSAGES = 8
"""Short messages are examined when the next frame of the caller is decided, or once there are so many."""
_MAX_REFUSED = 1000


class AgentMessages:
    """Handles the messages of one stream, in the order in which the caller has them."""

    def __init__(
        self,
        dialect: Dialect,
        playout: Playout,
        link: NetworkLink,
        *,
        clock: Clock,
        call_at: CallAt,
        send: Callable[[Wire], object],
        on_audio: Callable[[], object],
        on_hang_up: Callable[[int], object],
    ) -> None:
        """`on_audio` is called after each piece of audio, or after some short ones.

        `on_hang_up` is called with the time at which the agent hung up.
        """
        self._dialect = dialect
        self._playout = playout
        self._link = link
        self._clock = clock
        self._call_at = call_at
        self._send = send
        self._on_audio = on_audio
        self._on_hang_up = on_hang_up
        self._decoder = AudioDecoder()
        self._waiting: deque[tuple[Message, int]] = deque()
        self._steps: Iterator[None] | None = None
        """What remains of the message that is being handled."""
        self._unheard = 0
        """Messages since `on_audio` was called last."""
        self._is_behind = False
        """Whether a further step is scheduled."""
        self._echoes_from_ns = 0
        """No mark is echoed before."""
        self._echo_timer_ns: int | None = None
        """When marks are echoed next, if that is scheduled."""
        self._warnings: dict[str, tuple[str, int]] = {}
        self.refused_bytes: list[int] = []
        """The sizes of messages that were too long to be read, the first thousand."""
        self.discarded_samples: list[int] = []
        """The audio of messages for which the buffer had no room, the first thousand."""

    @property
    def warnings(self) -> list[str]:
        """What the platform would have warned of, one line a kind: the first text and the number of further ones."""
        return [
            text
            + (f" (Twilio {code})" if code.isdigit() and self._dialect.name == "twilio" else "")
            + (f" (and {count - 1} more)" if count > 1 else "")
            for code, (text, count) in sorted(self._warnings.items())
        ]

    def warn(self, code: str, text: str) -> None:
        """Add a warning; `code` is Twilio's, or a name of its kind."""
        first, count = self._warnings.get(code, (text, 0))
        self._warnings[code] = (first, count + 1)

    def handle(self, message: Message, recv_ns: int) -> None:
        """Handle a message that the caller has since `recv_ns`."""
        if not self._is_behind and not isinstance(message, Refused) and self._play_plain(message, recv_ns):
            return
        self._waiting.append((message, recv_ns))
        if not self._is_behind:
            self._take_step()

    def _play_plain(self, message: AnyMessage, recv_ns: int) -> bool:
        """Play a message that differs from an earlier one in its audio alone; return False if it has to be parsed."""
        coded = self._dialect.read_plain_audio(message)
        if coded is None or not self._playout.has_room(-(-len(coded) // 3) * 3, recv_ns):  # as `count_samples` does
            return False
        self._playout.receive(self._link.drop_lost_audio(mulaw.decode(coded)), recv_ns)
        self._unheard += 1
        if self._unheard >= UNHEARD_MESSAGES:
            self._hear()
        return True

    def _hear(self) -> None:
        self._unheard = 0
        self._on_audio()

    def _take_step(self, _: int = 0) -> None:
        """Handle the next messages, or a piece of one; what remains is handled later."""
        until_ns = self._clock.now_ns() + BUDGET_NS
        for _ in range(MESSAGES_AT_ONCE):
            if self._steps is None:
                self._steps = self._handle(*self._waiting.popleft())
            try:
                next(self._steps)
            except StopIteration:
                self._steps = None
            if self._steps is not None or not self._waiting or self._clock.now_ns() >= until_ns:
                break
        self._is_behind = self._steps is not None or bool(self._waiting)
        if self._is_behind:
            self._call_at(self._clock.now_ns() + STEP_NS, self._take_step)

    def _handle(self, message: Message, recv_ns: int) -> Iterator[None]:
        """Handle a message; yields between its pieces."""
        if isinstance(message, Refused):
            self.warn("refused", message.reason)
            if len(self.refused_bytes) < _MAX_REFUSED:
                self.refused_bytes.append(message.size_bytes)
            return
        try:
            event, warnings = self._dialect.parse(message)
        except ProtocolError as error:
            self._warn_invalid(error)
            return
        for code, text in warnings:
            self.warn(code, text)
        match event:
            case AgentAudio():
                yield from self._play(event, recv_ns)
            case AgentMark():
                self._playout.add_mark(event.name, recv_ns)
                self._echo_marks()
            case AgentClear():
                yield from self._clear(recv_ns)
            case AgentHangUp():
                self._on_hang_up(recv_ns)

    def _play(self, audio: AgentAudio, recv_ns: int) -> Iterator[None]:
        if not self._playout.has_room(count_samples(audio.payload, audio.format), recv_ns):
            self.warn("31931", f"{describe_buffer(self._dialect)}; audio beyond that was discarded")
            if len(self.discarded_samples) < _MAX_REFUSED:
                self.discarded_samples.append(count_samples(audio.payload, audio.format))
            self._playout.receive(np.zeros(0, np.int16), recv_ns)
            return
        if isinstance(audio.payload, LongMessage):
            size_mib = len(audio.payload) / 2**20
            self.warn("long", f"a message of {size_mib:.1f} MiB; send long audio in several messages")
        follows, parts = self._playout.end_ns >= recv_ns, 0
        try:
            for pcm in self._decoder.pieces(audio.payload, audio.format, continues=follows):
                if parts:
                    yield
                heard = self._link.drop_lost_audio(pcm)
                self._playout.receive(heard, recv_ns, continues=parts > 0)
                parts += 1
                self._hear()
        except ProtocolError as error:
            self._warn_invalid(error)

    def _clear(self, recv_ns: int) -> Iterator[None]:
        self._hear()  # what the clear cuts off was heard of until then
        yield from self._playout.clear_in_steps(recv_ns)
        self._hear()
        for message in self._dialect.cleared_messages():
            self._link.send_message(self._clock.now_ns(), partial(self._send, message))
        if self._dialect.echoes_cleared_marks:
            self._echo_marks()
        else:
            self._playout.drop_marks()

    def _echo_marks(self) -> None:
        """Echo the marks that are due, some now; the others, and those that become due, later."""
        now_ns = self._clock.now_ns()
        if self._echoes_from_ns <= now_ns:
            names = self._playout.echo_marks(now_ns, now_ns, most=MARKS_AT_ONCE)
            for name in names:
                self._link.send_message(now_ns, partial(self._echo, name))
            self._echoes_from_ns = now_ns + (ECHO_NS if len(names) == MARKS_AT_ONCE else 0)
        due_ns = self._playout.next_mark_due_ns
        if due_ns is not None:
            at_ns = max(due_ns, self._echoes_from_ns)
            if self._echo_timer_ns is None or at_ns < self._echo_timer_ns:
                self._echo_timer_ns = at_ns
                self._call_at(at_ns, self._on_mark_due)

    def _on_mark_due(self, due_ns: int) -> None:
        if due_ns == self._echo_timer_ns:
            self._echo_timer_ns = None
        self._echo_marks()

    def _echo(self, name: str) -> None:
        self._send(self._dialect.mark_message(name))

    def _warn_invalid(self, error: ProtocolError) -> None:
        code = error.code.rpartition(".")[2]
        if code.isdigit():
            self.warn(code, str(error))
        elif self._dialect.name == "twilio":
            self.warn("31951", f"an invalid message: {error}")
        else:
            self.warn("invalid", str(error))
