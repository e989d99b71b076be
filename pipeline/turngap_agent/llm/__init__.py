"""The language model: a conversation in, the reply's text in pieces out. One module an engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from turngap_agent.tracing import AttributeValue

Note = Callable[[str, AttributeValue], None]
"""Takes a fact about a request, by its name in `turngap_agent.tracing`."""


def _unheard(name: str, value: AttributeValue) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Message:
    """One thing said in the conversation so far."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Request:
    """What one reply is asked with.

    The prompt is, in this order: the profile's system prompt (shared, cacheable), `call_block` (at least 16 tokens no
    other call has, so that a prefix cache can't flatter a benchmark), `history`, and the caller's last words.
    """

    call_block: str
    history: tuple[Message, ...]
    words: str
    max_tokens: int
    headers: dict[str, str] = field(default_factory=dict)
    """Trace headers (`traceparent`) for engines behind HTTP."""
    reply_tokens: int | None = None
    """Random weights give exactly so many tokens, so that turns can be compared; None: as their settings have it."""
    waiting: bool = True
    """The caller has finished and waits; False for work on speculation, which such requests may overtake."""
    note: Note = _unheard
    """Where the engine writes what it knows of the request: queue, prefill, decode, prefix hits."""


@dataclass(frozen=True, slots=True)
class KvCache:
    """Memory for keys and values that an engine reserves before it needs it."""

    reserved_mib: float
    used_peak_mib: float
    """The most that requests held of it at once, as far as it was looked at."""


@runtime_checkable
class ReservesKvCache(Protocol):
    """A language model whose KV cache is reserved ahead, and which knows how much of it was used."""

    def kv_cache(self) -> KvCache | None:
        """The cache so far; None while that is not known."""
        ...


@runtime_checkable
class InStep(Protocol):
    """A language model that stands still while nobody reads on: what may be for nothing can be put off."""

    in_step: bool


@runtime_checkable
class ReadsAhead(Protocol):
    """A language model that keeps what it has read of a call, and can read on before it is asked for a reply."""

    async def read_ahead(self, request: Request) -> None:
        """Take in what `request` begins with, up to the caller's words, which are not known yet.

        Nothing is read while a reply is being made.

        Raises:
            EngineError: the engine failed.
        """
        ...

    def forget(self, call_block: str) -> None:
        """That call has ended: what is kept of it may make room for another."""
        ...


class LanguageModel(Protocol):
    """A loaded, shared engine; requests of several calls may overlap. Work is done off the event loop."""

    async def warm_up(self) -> None:
        """Fill the cache of the system prompt and run one short reply."""
        ...

    def reply(self, request: Request) -> AsyncGenerator[str, None]:
        """The reply, token by token as text. Closing the generator (`aclose`) stops the engine's work.

        Raises:
            EngineError: the engine failed; the turn is lost, the call is not.
        """
        ...

    async def close(self) -> None:
        """Free threads and memory."""
        ...
