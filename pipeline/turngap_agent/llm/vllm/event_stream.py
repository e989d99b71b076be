"""An OpenAI server's event stream: bytes to events, and the JSON of an event to a `Chunk`; pure.

Server-sent events after the WHATWG HTML standard, section 9.2.6: lines end with CR LF, LF or CR, `data:` lines of one
event are joined by line feeds, an empty line ends the event, comments and other fields are skipped, and an event that
the end of the stream cuts off is dropped. Not by httpx-sse 0.4: it has no limit for the size of an event, and delivers
an event late whose last CR LF arrives in two pieces.
"""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass
from typing import Any

from turngap_agent.errors import EngineError

DONE = "[DONE]"
"""The data of a stream's last event."""
MAX_EVENT_CHARACTERS = 1_000_000
"""Far more than any event of a chat completion has."""


class EventParser:
    """Parses one stream, whose bytes arrive in pieces of any size."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line = ""
        self._data: list[str] = []
        self._after_cr = False

    def push(self, data: bytes) -> list[str]:
        """Add more of the stream; return the data of the events that are complete.

        Raises:
            EngineError: an event has more than `MAX_EVENT_CHARACTERS`.
        """
        *lines, self._line = self._split(self._decoder.decode(data))
        events = [event for event in map(self._add_line, lines) if event is not None]
        if len(self._line) + sum(map(len, self._data)) > MAX_EVENT_CHARACTERS:
            raise EngineError(
                f"the server sent an event of over {MAX_EVENT_CHARACTERS} characters: it is no OpenAI server"
            )
        return events

    def _split(self, text: str) -> list[str]:
        """Return the complete lines, and the incomplete one; a CR LF may arrive in two pieces."""
        if self._after_cr and text:
            text = text.removeprefix("\n")
            self._after_cr = False
        if text.endswith("\r"):
            self._after_cr = True
        return (self._line + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")

    def _add_line(self, line: str) -> str | None:
        """Return the data of the event that `line` completes, if it completes one."""
        if not line:
            event = "\n".join(self._data) if self._data else None
            self._data = []
            return event
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        return None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server reports of one request at its end; None where it does not report it."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    """Tokens of the prompt that the prefix cache served; vLLM: `--enable-prompt-tokens-details`."""
    queue_ms: float | None = None
    """Accepted → scheduled; vLLM: `--enable-per-request-metrics`, as the next two."""
    prefill_ms: float | None = None
    """Scheduled → first token."""
    decode_ms: float | None = None
    """First token → last token."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One event: text, which may be empty; token ids if they were requested; the usage in the last one."""

    text: str = ""
    token_ids: tuple[int, ...] = ()
    usage: Usage | None = None


def parse_chunk(data: str) -> Chunk:
    """Return the chunk with that event data, of a chat completion or a completion.

    Raises:
        EngineError: the event is an error of the server, or no chunk.
    """
    try:
        body = json.loads(data)
    except ValueError:
        raise EngineError(f"an event is no JSON: {excerpt(data)!r}") from None
    if not isinstance(body, dict):
        raise EngineError(f"an event is no JSON object: {excerpt(data)!r}")
    if "error" in body:
        raise EngineError(f"the server failed in the middle of the reply: {error_message(body)}")
    try:
        choices = body["choices"]
        usage = _parse_usage(body) if body.get("usage") else None
        if not choices:
            return Chunk(usage=usage)
        choice = choices[0]
        text = choice["text"] if "text" in choice else choice["delta"].get("content")
        ids = choice.get("token_ids") or ()
        return Chunk(_check_text(text), tuple(int(token) for token in ids), usage)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise EngineError(f"an event is no chunk of a completion: {excerpt(data)!r}") from None


def error_message(body: object) -> str:
    """Return the message in an error's JSON body on one line; "" if it has none."""
    error = body.get("error", body) if isinstance(body, dict) else body
    text = error.get("message") if isinstance(error, dict) else error
    return excerpt(text) if isinstance(text, str) else ""


def excerpt(text: str, characters: int = 200) -> str:
    """Return `text` on one line, cut after so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= characters else f"{line[:characters]}…"


def _parse_usage(body: dict[str, Any]) -> Usage:
    usage, metrics = body["usage"], body.get("metrics") or {}
    details = usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens")
    return Usage(
        prompt_tokens=int(usage["prompt_tokens"]),
        completion_tokens=int(usage.get("completion_tokens") or 0),
        cached_tokens=None if cached is None else int(cached),
        queue_ms=_parse_ms(metrics.get("queue_time_ms")),
        prefill_ms=_parse_ms(metrics.get("time_to_first_token_ms")),
        decode_ms=_parse_ms(metrics.get("generation_time_ms")),
    )


def _parse_ms(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _check_text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("text is needed")
    return value
