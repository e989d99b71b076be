"""What an OpenAI server says in a stream: the JSON of its events as values; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from turngap_agent.errors import EngineError

DONE = "[DONE]"
"""The data of a stream's last event."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The accounts of one request, at its end. None is what the server does not tell."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    """Of the prompt, served by the prefix cache; vLLM: `--enable-prompt-tokens-details`."""
    queue_ms: float | None = None
    """Taken in → scheduled; vLLM: `--enable-per-request-metrics`, as the next two."""
    prefill_ms: float | None = None
    """Scheduled → first token."""
    decode_ms: float | None = None
    """First token → last token."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One event: some text, perhaps none; token ids where they were asked for; the accounts in the last one."""

    text: str = ""
    token_ids: tuple[int, ...] = ()
    usage: Usage | None = None


def parse(data: str) -> Chunk:
    """The event with that data, of a chat completion or a completion.

    Raises:
        EngineError: it is an error of the server, or no event of such a stream.
    """
    try:
        body = json.loads(data)
    except ValueError:
        raise EngineError(f"an event that is no JSON: {excerpt(data)!r}") from None
    if not isinstance(body, dict):
        raise EngineError(f"an event that is no JSON object: {excerpt(data)!r}")
    if "error" in body:
        raise EngineError(f"the server failed in the middle of the reply: {error_text(body)}")
    try:
        choices = body["choices"]
        usage = _usage(body) if body.get("usage") else None
        if not choices:
            return Chunk(usage=usage)
        choice = choices[0]
        text = choice["text"] if "text" in choice else choice["delta"].get("content")
        ids = choice.get("token_ids") or ()
        return Chunk(_text(text), tuple(int(token) for token in ids), usage)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise EngineError(f"an event that is no chunk of a completion: {excerpt(data)!r}") from None


def error_text(body: object) -> str:
    """The server's own words in an error's JSON body, in one line; "" if there are none."""
    error = body.get("error", body) if isinstance(body, dict) else body
    text = error.get("message") if isinstance(error, dict) else error
    return excerpt(text) if isinstance(text, str) else ""


def excerpt(text: str, characters: int = 200) -> str:
    """One line, not too long."""
    line = " ".join(text.split())
    return line if len(line) <= characters else f"{line[:characters]}…"


def _usage(body: dict[str, Any]) -> Usage:
    usage, metrics = body["usage"], body.get("metrics") or {}
    details = usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens")
    return Usage(
        prompt_tokens=int(usage["prompt_tokens"]),
        completion_tokens=int(usage.get("completion_tokens") or 0),
        cached_tokens=None if cached is None else int(cached),
        queue_ms=_ms(metrics.get("queue_time_ms")),
        prefill_ms=_ms(metrics.get("time_to_first_token_ms")),
        decode_ms=_ms(metrics.get("generation_time_ms")),
    )


def _ms(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("text is needed")
    return value
