"""What the agent sends in one call: audio into the playout, marks echoed when due, protocol errors kept as warnings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import mulaw
from turngap_agent.telephony.messages import OutboundMark, OutboundMedia
from turngap_agent.telephony.parsing import parse_outbound

from turngap.caller.network_link import CallAt, NetworkLink
from turngap.caller.playout import Playout
from turngap.clock import Clock


class AgentMessages:
    """Handles the messages of one stream, in the order in which the caller has them."""

    def __init__(
        self,
        stream_sid: str,
        playout: Playout,
        link: NetworkLink,
        *,
        clock: Clock,
        call_at: CallAt,
        send_mark: Callable[[str], object],
    ) -> None:
        self._stream_sid = stream_sid
        self._playout = playout
        self._link = link
        self._clock = clock
        self._call_at = call_at
        self._send_mark = send_mark
        self._warnings: dict[str, tuple[str, int]] = {}

    @property
    def warnings(self) -> list[str]:
        """What Twilio would have warned of, one line a code, sorted: the first text and the number of further ones."""
        return [
            f"{text} (Twilio {code})" + (f" (and {count - 1} more)" if count > 1 else "")
            for code, (text, count) in sorted(self._warnings.items())
        ]

    def warn(self, code: str, text: str) -> None:
        """Add a warning with Twilio's code."""
        first, count = self._warnings.get(code, (text, 0))
        self._warnings[code] = (first, count + 1)

    def handle(self, message: str | bytes, recv_ns: int) -> None:
        """Handle a message that the caller has since `recv_ns`."""
        if isinstance(message, bytes):
            self.warn("31950", "a binary frame; Twilio takes text frames only")
            return
        try:
            parsed = parse_outbound(message)
        except ProtocolError as error:
            self.warn("31951", f"an invalid message: {error}")
            return
        if parsed.stream_sid != self._stream_sid:
            self.warn("31951", f"a message for stream {parsed.stream_sid!r}; this one is {self._stream_sid!r}")
        elif isinstance(parsed, OutboundMedia):
            if not self._playout.receive(self._link.drop_lost_audio(mulaw.decode(parsed.payload)), recv_ns):
                self.warn("31931", "more than 10 minutes of audio buffered; audio discarded")
        elif isinstance(parsed, OutboundMark):
            due_ns = self._playout.add_mark(parsed.name, recv_ns)
            if due_ns <= recv_ns:
                self._echo_marks(due_ns)
            else:
                self._call_at(due_ns, self._echo_marks)
        else:
            self._playout.clear(recv_ns)
            self._echo_marks(None)

    def _echo_marks(self, due_ns: int | None) -> None:
        now_ns = self._clock.now_ns()
        for name in self._playout.echo_marks(now_ns, due_ns):
            self._link.send_message(now_ns, partial(self._send_mark, name))
