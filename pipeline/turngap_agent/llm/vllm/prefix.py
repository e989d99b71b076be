"""How many tokens of a prompt the prefix cache may serve: the shared system prompt and the call's own history.

The shared part is measured, not computed: of two warm-up requests with different blocks, what the second finds cached
is the system prompt in whole blocks of the cache. Each call's block follows it, so a new call that finds more was
served another call's work.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from turngap_agent.llm import Request
from turngap_agent.llm.vllm.event_stream import Usage

BLOCK_TOKENS = 16
"""Tokens of a block of the KV cache, where the server does not report it."""
TEMPLATE_TOKENS = 16
"""More than a chat template adds to a message."""
_MAX_CALLS = 4096


@dataclass(slots=True)
class _RequestRecord:
    """One request of a call."""

    messages: tuple[str, ...]
    """The messages after the call's block."""
    limit_tokens: int
    """The most tokens to generate."""
    usage: Usage | None = None
    """None while it runs, and of a request that was cancelled."""


class PrefixTracker:
    """Tracks the requests of all calls since the server started."""

    def __init__(self) -> None:
        self._new_call_tokens: int | None = None
        self._calls: OrderedDict[str, list[_RequestRecord]] = OrderedDict()

    def learn(self, shared_tokens: int | None, block_tokens: int | None) -> None:
        """Start again with a server that has just started.

        `shared_tokens` were cached of a prompt that shares only the system prompt. One block more is allowed: where the
        blocks of two calls start with the same letter, that letter may fill it.
        """
        self._new_call_tokens = None if shared_tokens is None else shared_tokens + (block_tokens or BLOCK_TOKENS)
        self._calls.clear()

    def start_request(self, request: Request, limit_tokens: int) -> tuple[str, int]:
        """Record a request for at most `limit_tokens` that is sent now; return its handle."""
        requests = self._calls.setdefault(request.call_block, [])
        self._calls.move_to_end(request.call_block)
        while len(self._calls) > _MAX_CALLS:
            self._calls.popitem(last=False)
        messages = (*(message.text for message in request.history), request.words)
        requests.append(_RequestRecord(messages, limit_tokens))
        return request.call_block, len(requests) - 1

    def end_request(self, handle: tuple[str, int], usage: Usage) -> int | None:
        """Record the end of a request; return how many tokens of its prompt the cache may serve, None if not known.

        For a later request of a call that is the most the call has had in the cache: its longest prompt with its reply.
        Of an earlier request that was cancelled no usage is known: it counts with the most that it can have had.
        """
        call_block, index = handle
        requests = self._calls.get(call_block, [])
        if index < len(requests):
            requests[index].usage = usage
        if self._new_call_tokens is None:
            return None
        allowed = self._new_call_tokens
        for place, record in enumerate(requests[:index]):
            if record.usage is not None:
                allowed = max(allowed, record.usage.prompt_tokens + record.usage.completion_tokens)
            else:
                bound = _bound_tokens(record, requests[:place], self._new_call_tokens + _count_bytes(call_block))
                allowed = max(allowed, min(bound, usage.prompt_tokens))
        return allowed


def _bound_tokens(record: _RequestRecord, earlier: list[_RequestRecord], opening_tokens: int) -> int:
    """Return an upper bound of the tokens of a request's prompt and reply.

    As far as an earlier prompt of the call reaches, its usage is used; each token of the rest has at least one byte.
    There are at most `opening_tokens` before the first message.
    """
    known, base = 0, opening_tokens + TEMPLATE_TOKENS
    for other in earlier:
        messages = other.messages
        if other.usage is not None and len(messages) > known and record.messages[: len(messages)] == messages:
            known, base = len(messages), other.usage.prompt_tokens
    rest = record.messages[known:]
    return base + sum(_count_bytes(text) + TEMPLATE_TOKENS for text in rest) + record.limit_tokens


def _count_bytes(text: str) -> int:
    return len(text.encode())
