"""The token ids that were generated in each call, so that a later prompt holds them as they came.

Random weights give ids that are no words: putting a script's ids into the history in their place would make another
conversation of it than the one whose keys and values were computed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from turngap_agent.llm import Request

_REMEMBERED = 4096


class Generated:
    """Ids by call and place in its history; the oldest are forgotten."""

    def __init__(self) -> None:
        self._ids: OrderedDict[tuple[str, int], tuple[int, ...]] = OrderedDict()

    def keep(self, request: Request, ids: Sequence[int]) -> None:
        """The model gave `ids` to that request; the last attempt at a turn stands."""
        key = (request.call_block, len(request.history))
        self._ids[key] = tuple(ids)
        self._ids.move_to_end(key)
        while len(self._ids) > _REMEMBERED:
            self._ids.popitem(last=False)

    def reply(self, request: Request, index: int, own: Sequence[int]) -> Sequence[int]:
        """The ids of the reply at `index` of the request's history, as many as its text has, whose own ids are `own`.

        Of a reply that was cut short only what was heard; `own` where nothing is known of it.
        """
        known = self._ids.get((request.call_block, index - 1))
        return known[: len(own)] if known else own
