"""What a coming request will begin with is read while the caller still talks: then only the new words cost time."""

from __future__ import annotations

import asyncio
import logging

from turngap_agent.errors import EngineError
from turngap_agent.llm import LanguageModel, Message, ReadsAhead, Request

_log = logging.getLogger("turngap.call")


class ReadingAhead:
    """One call's, with a language model that can; with another nothing is done."""

    def __init__(self, llm: LanguageModel, call_block: str, call_sid: str) -> None:
        self._llm = llm if isinstance(llm, ReadsAhead) else None
        self._call_block, self._call_sid = call_block, call_sid
        self._task: asyncio.Task[None] | None = None

    def begin(self, history: tuple[Message, ...]) -> None:
        """The caller has begun to speak: of the request all is known but the words. One at a time is read."""
        if self._llm is not None and (self._task is None or self._task.done()):
            coming = Request(self._call_block, history, words="", max_tokens=0)
            self._task = asyncio.create_task(self._read(self._llm, coming))

    async def close(self) -> None:
        """The call has ended: what was not begun is not read, and what was kept may go."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._llm is not None:
            self._llm.forget(self._call_block)

    async def _read(self, llm: ReadsAhead, request: Request) -> None:
        try:
            await llm.read_ahead(request)
        except EngineError as fault:  # the turn's own request will fail too, or will not
            _log.error("%s: reading ahead: %s", self._call_sid, fault)
