"""What language models with random weights "say": a script, token by token, and the ids that they really generated.

Random weights generate ids that are no words. If the script's ids took their place in the history of a later prompt,
that would be another conversation than the one whose keys and values were computed.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence

from turngap_agent.device.stand_in_tokenizer import StandInTokenizer
from turngap_agent.llm import Request

_TOKENIZER = StandInTokenizer(1)
_MAX_REPLIES = 4096


def split_words(script: str) -> list[str]:
    """Return the words of `script`, each with the space before it."""
    return re.findall(r"\s*\S+", script)


def split_script(script: str, tokens: int | None = None) -> list[str]:
    """Return `script` as its tokens; with `tokens` exactly so many of them, from a script that is repeated if short."""
    text = script.strip()
    if tokens is None or not text:
        return _TOKENIZER.split(text)
    pieces: list[str] = []
    while len(pieces) < tokens:
        pieces += _TOKENIZER.split(f" {text}" if pieces else text)
    return pieces[:tokens]


class GeneratedIds:
    """The generated ids by call and position in its history; the oldest replies are dropped."""

    def __init__(self) -> None:
        self._ids: OrderedDict[tuple[str, int], tuple[int, ...]] = OrderedDict()

    def store(self, request: Request, ids: Sequence[int]) -> None:
        """Store the `ids` that the model generated for that request; a turn's last attempt replaces earlier ones."""
        key = (request.call_block, len(request.history))
        self._ids[key] = tuple(ids)
        self._ids.move_to_end(key)
        while len(self._ids) > _MAX_REPLIES:
            self._ids.popitem(last=False)

    def of_reply(self, request: Request, index: int, text_ids: Sequence[int]) -> Sequence[int]:
        """Return the ids of the reply at `index` of the request's history, whose text has the ids `text_ids`.

        Of a reply that was interrupted only as many as its text has, which is what was heard; `text_ids` where no
        generated ids are stored.
        """
        ids = self._ids.get((request.call_block, index - 1))
        return ids[: len(text_ids)] if ids else text_ids
