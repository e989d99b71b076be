"""Language models: a conversation in, the reply's text out in pieces. One module or package an engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from turngap_agent.tracing import AttributeValue

SetSentenceEnd = Callable[[float], None]
"""Takes the probability, 0-1, that the caller's sentence ends with the words of a request."""

SetAttribute = Callable[[str, AttributeValue], None]
"""Takes a measured fact about a request, by its attribute name in `turngap_agent.tracing`."""


def _ignore(name: str, value: AttributeValue) -> None:
    """Discard the fact."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation so far."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Request:
    """A request for one reply.

    The prompt is, in this order: the profile's system prompt (shared, cacheable), `call_block` (at least 16 tokens that
    no other call has, so that a prefix cache cannot flatter a benchmark), `history`, and the caller's last words.
    """

    call_block: str
    history: tuple[Message, ...]
    words: str
    max_tokens: int
    headers: dict[str, str] = field(default_factory=dict)
    """Trace headers (`traceparent`) for engines behind HTTP."""
    reply_tokens: int | None = None
    """Random weights generate exactly so many tokens, so that turns can be compared; None: as their settings say."""
    waiting: bool = True
    """Whether the caller has finished and waits; False for speculative work, which waiting requests may overtake."""
    set_attribute: SetAttribute = _ignore
    """Receives what the engine measured of the request: queue, prefill, decode, prefix hits."""
    set_sentence_end: SetSentenceEnd | None = None
    """Where somebody wants to know: an engine that `JudgesSentences` calls it once, before the reply's first piece."""


@dataclass(frozen=True, slots=True)
class KvCache:
    """Memory for keys and values that an engine reserves in advance."""

    reserved_mib: float
    used_peak_mib: float
    """The most that requests held at once, of all samples taken."""


@runtime_checkable
class ReservesKvCache(Protocol):
    """A language model that reserves its KV cache in advance and knows how much of it was used."""

    def kv_cache(self) -> KvCache | None:
        """Return the cache's size and peak so far; None while they are not known."""
        ...


@runtime_checkable
class GeneratesOnDemand(Protocol):
    """A language model that generates only on demand: work that may be wasted can be put off by not reading on."""

    on_demand: bool


@runtime_checkable
class ReadsAhead(Protocol):
    """A language model that keeps what it has read of a call, and can read on before a reply is requested."""

    async def read_ahead(self, request: Request) -> None:
        """Compute the prompt of `request` up to the caller's words, which are not known yet.

        Nothing is computed while a reply is being generated.

        Raises:
            EngineError: the engine failed.
        """
        ...

    def forget(self, call_block: str) -> None:
        """Let the context of that call, which has ended, make room for another."""
        ...


@runtime_checkable
class JudgesSentences(Protocol):
    """A language model that can say whether what the caller has said so far is a whole sentence.

    `reply` says so to `Request.set_sentence_end`, from the pass over the prompt that the reply needs anyway, so that no
    reading comes before it. The words are read without the full stop that a recogniser puts after whatever it hears.
    """

    async def end_probability(self, request: Request) -> float:
        """Return the probability, 0-1, that the caller's sentence ends with `request.words`, without a reply.

        It is the probability that `reply` says. What is computed is kept for the reply to the same words.

        Raises:
            EngineError: the engine failed.
        """
        ...


class LanguageModel(Protocol):
    """A loaded, shared engine; requests of several calls may overlap. The work runs off the event loop."""

    async def warm_up(self) -> None:
        """Fill the cache with the system prompt and generate one short reply."""
        ...

    def reply(self, request: Request) -> AsyncGenerator[str, None]:
        """Yield the reply's text, token by token. Closing the generator (`aclose`) stops the engine's work.

        Raises:
            EngineError: the engine failed; the turn is lost, the call is not.
        """
        ...

    async def close(self) -> None:
        """Free threads and memory."""
        ...
