"""Stand-in token ids for prompts where a model's tokenizer cannot be had; pure but for what it remembers.

A word or mark is one id, the same every time. Ids that the model generated go into the history as they came, so that
the prefix cache serves them as it would serve a real conversation's.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from turngap_agent.llm import Request
from turngap_agent.llm.generated import Generated

FIRST_ID, N_IDS = 32, 224
"""Ids used: over what vocabularies keep for marks, and inside the smallest of them."""
_WORD = re.compile(r"\w+|[^\w\s]")


def stand_in(text: str) -> list[int]:
    """One id for each word and mark."""
    return [FIRST_ID + zlib.crc32(word.encode()) % N_IDS for word in _WORD.findall(text.lower())]


class TokenHistory:
    """The prompts of all calls as ids, with what was generated in each."""

    def __init__(self) -> None:
        self._generated = Generated()

    def prompt(self, system_prompt: str, request: Request) -> list[int]:
        """System prompt, the call's block, the history and the caller's last words as ids."""
        ids = [*stand_in(system_prompt), *stand_in(request.call_block)]
        for index, message in enumerate(request.history):
            own = stand_in(message.text)
            ids += own if message.role == "user" else self._generated.reply(request, index, own)
        return [*ids, *stand_in(request.words)]

    def generated(self, request: Request, ids: Sequence[int]) -> None:
        """Keep what the model gave to that request; the last attempt of a turn stands."""
        self._generated.keep(request, ids)
