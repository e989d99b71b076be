"""Server-sent events, read from bytes as they come; pure.

After the WHATWG HTML standard, section 9.2.6: lines end with CR LF, LF or CR, `data:` lines of one event are joined by
line feeds, an empty line ends the event, comments and other fields are skipped, and an event that the stream's end
cuts off is dropped.
"""

from __future__ import annotations

import codecs

from turngap_agent.errors import EngineError

MAX_EVENT_CHARACTERS = 1_000_000
"""No event of a chat completion comes near it; what does is no such stream."""


class EventParser:
    """One stream; `push` its bytes in pieces of any size."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line = ""
        self._data: list[str] = []
        self._after_cr = False

    def push(self, data: bytes) -> list[str]:
        """Take more of the stream; give the data of the events that are complete.

        Raises:
            EngineError: one event goes on without end.
        """
        *lines, self._line = self._split(self._decoder.decode(data))
        events = [event for event in map(self._take, lines) if event is not None]
        if len(self._line) + sum(map(len, self._data)) > MAX_EVENT_CHARACTERS:
            raise EngineError("the server sends one event without end: it is no OpenAI server")
        return events

    def _split(self, text: str) -> list[str]:
        """The lines that are complete, and the one that is not; a CR LF may come in two pieces."""
        if self._after_cr and text:
            text = text.removeprefix("\n")
            self._after_cr = False
        if text.endswith("\r"):
            self._after_cr = True
        return (self._line + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")

    def _take(self, line: str) -> str | None:
        if not line:
            event = "\n".join(self._data) if self._data else None
            self._data = []
            return event
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        return None
