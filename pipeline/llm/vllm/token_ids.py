"""Stand-in token ids for prompts where a model's tokenizer cannot be had; pure but for what it remembers.

A word or mark is one id, the same every time. Ids that the model generated go into the history as they came, so that
the prefix cache serves them as it would serve a real conversation's.
"""

from __future__ import annotations

import re
import zlib
from collections import OrderedDict

from pipeline.llm import Message, Request

FIRST_ID, N_IDS = 32, 224
"""Ids used: over what vocabularies keep for marks, and inside the smallest of them."""
_REMEMBERED = 4096
_WORD = re.compile(r"\w+|[^\w\s]")


def stand_in(text: str) -> list[int]:
    """One id for each word and mark."""
    return [FIRST_ID + zlib.crc32(word.encode()) % N_IDS for word in _WORD.findall(text.lower())]


class TokenHistory:
    """The prompts of all calls as ids, with what was generated in each."""

    def __init__(self) -> None:
        self._generated: OrderedDict[tuple[str, int], list[int]] = OrderedDict()

    def prompt(self, system_prompt: str, request: Request) -> list[int]:
        """System prompt, the call's block, the history and the caller's last words as ids."""
        ids = [*stand_in(system_prompt), *stand_in(request.call_block)]
        for index, message in enumerate(request.history):
            ids += self._said(request.call_block, index, message)
        return [*ids, *stand_in(request.words)]

    def generated(self, request: Request, ids: list[int]) -> None:
        """Keep what the model gave to that request; the last attempt of a turn stands."""
        key = (request.call_block, len(request.history))
        self._generated[key] = ids
        self._generated.move_to_end(key)
        while len(self._generated) > _REMEMBERED:
            self._generated.popitem(last=False)

    def _said(self, call_block: str, index: int, message: Message) -> list[int]:
        """A message's ids; a reply that was cut short gives as many of its own as it has words."""
        own = stand_in(message.text)
        if message.role == "user":
            return own
        return (self._generated.get((call_block, index - 1)) or own)[: max(len(own), 1)]
