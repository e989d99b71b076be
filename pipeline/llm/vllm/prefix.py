"""What the prefix cache may serve of a prompt: the shared system prompt, and the call's own history; nothing else.

The shared part is learned, not computed: of two warm-up requests with different blocks, what the second one finds
cached is the system prompt in whole blocks of the cache. Each call's block follows it, so that a new call which finds
more has been served with another call's work.
"""

from __future__ import annotations

from collections import OrderedDict

from pipeline.llm.vllm.chunks import Usage

BLOCK_TOKENS = 16
"""Tokens of a block of the KV cache, where the server does not tell."""
_REMEMBERED = 4096


class PrefixLedger:
    """Follows all calls of one server's life."""

    def __init__(self) -> None:
        self._new_call: int | None = None
        self._calls: OrderedDict[str, list[int | None]] = OrderedDict()

    def learn(self, shared_tokens: int | None, block_tokens: int | None) -> None:
        """`shared_tokens` of a prompt were cached that shares the system prompt alone; the server has just started.

        One block more is allowed: where two calls' blocks begin with the same letter, that letter may fill it.
        """
        self._new_call = None if shared_tokens is None else shared_tokens + (block_tokens or BLOCK_TOKENS)
        self._calls.clear()

    def begin(self, call_block: str) -> tuple[str, int]:
        """A request of that call is sent; gives its handle."""
        requests = self._calls.setdefault(call_block, [])
        self._calls.move_to_end(call_block)
        while len(self._calls) > _REMEMBERED:
            self._calls.popitem(last=False)
        requests.append(None)
        return call_block, len(requests) - 1

    def end(self, handle: tuple[str, int], usage: Usage) -> int | None:
        """The request is done: how much of its prompt could rightly be cached; None where that is not known.

        Of a later request that is as much as the call has had in the cache: its longest prompt and reply so far. An
        earlier request that was cancelled has no accounts; then the whole prompt, for all after the block is its own.
        """
        call_block, index = handle
        requests = self._calls.get(call_block, [])
        if index < len(requests):
            requests[index] = usage.prompt_tokens + usage.completion_tokens
        if self._new_call is None:
            return None
        earlier = requests[:index]
        own = [tokens for tokens in earlier if tokens is not None]
        history = usage.prompt_tokens if len(own) < len(earlier) else max(own, default=0)
        return max(self._new_call, history)
