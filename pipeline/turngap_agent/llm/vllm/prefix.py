"""What the prefix cache may serve of a prompt: the shared system prompt, and the call's own history; nothing else.

The shared part is learned, not computed: of two warm-up requests with different blocks, what the second one finds
cached is the system prompt in whole blocks of the cache. Each call's block follows it, so that a new call which finds
more has been served with another call's work.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from turngap_agent.llm import Request
from turngap_agent.llm.vllm.chunks import Usage

BLOCK_TOKENS = 16
"""Tokens of a block of the KV cache, where the server does not tell."""
TEMPLATE_TOKENS = 16
"""More than a chat template puts around one message."""
_REMEMBERED = 4096


@dataclass(slots=True)
class _Asked:
    """One request of a call."""

    said: tuple[str, ...]
    """The messages after the call's block."""
    limit_tokens: int
    """Generated at most."""
    usage: Usage | None = None
    """None while it runs, and of one that was cancelled."""


class PrefixLedger:
    """Follows all calls of one server's life."""

    def __init__(self) -> None:
        self._new_call: int | None = None
        self._calls: OrderedDict[str, list[_Asked]] = OrderedDict()

    def learn(self, shared_tokens: int | None, block_tokens: int | None) -> None:
        """`shared_tokens` of a prompt were cached that shares the system prompt alone; the server has just started.

        One block more is allowed: where two calls' blocks begin with the same letter, that letter may fill it.
        """
        self._new_call = None if shared_tokens is None else shared_tokens + (block_tokens or BLOCK_TOKENS)
        self._calls.clear()

    def begin(self, request: Request, limit_tokens: int) -> tuple[str, int]:
        """The request is sent, of whose reply at most `limit_tokens` will be generated; gives its handle."""
        requests = self._calls.setdefault(request.call_block, [])
        self._calls.move_to_end(request.call_block)
        while len(self._calls) > _REMEMBERED:
            self._calls.popitem(last=False)
        said = (*(message.text for message in request.history), request.words)
        requests.append(_Asked(said, limit_tokens))
        return request.call_block, len(requests) - 1

    def end(self, handle: tuple[str, int], usage: Usage) -> int | None:
        """The request is done: how much of its prompt could rightly be cached; None where that is not known.

        Of a later request that is as much as the call has had in the cache: its longest prompt and reply so far. An
        earlier request that was cancelled has no accounts: it counts with the most that it can have had.
        """
        call_block, index = handle
        requests = self._calls.get(call_block, [])
        if index < len(requests):
            requests[index].usage = usage
        if self._new_call is None:
            return None
        allowed = self._new_call
        for place, asked in enumerate(requests[:index]):
            if asked.usage is not None:
                allowed = max(allowed, asked.usage.prompt_tokens + asked.usage.completion_tokens)
            else:
                most = _most_tokens(asked, requests[:place], self._new_call + _bytes(call_block))
                allowed = max(allowed, min(most, usage.prompt_tokens))
        return allowed


def _most_tokens(asked: _Asked, earlier: list[_Asked], opening: int) -> int:
    """Upper bound of the tokens of a prompt as sent, and of what was generated to it.

    As far as an earlier prompt of the call goes its accounts tell; a token of what follows has a byte at least.
    `opening`: at most so many tokens stand before the first message.
    """
    known, base = 0, opening + TEMPLATE_TOKENS
    for other in earlier:
        said = other.said
        if other.usage is not None and len(said) > known and asked.said[: len(said)] == said:
            known, base = len(said), other.usage.prompt_tokens
    rest = asked.said[known:]
    return base + sum(_bytes(text) + TEMPLATE_TOKENS for text in rest) + asked.limit_tokens


def _bytes(text: str) -> int:
    return len(text.encode())
