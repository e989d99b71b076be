"""The turn model is asked beside all else, about the newest pause; a model that fails or is slow costs only time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from turngap_agent.endpointing import EndpointEvent, TurnModel
from turngap_agent.stt import AudioF32

_log = logging.getLogger("turngap.call")


class Asking:
    """One call's questions: the newest counts."""

    def __init__(
        self,
        audio: Callable[[EndpointEvent], AudioF32],
        answered: Callable[[EndpointEvent, float], Awaitable[None]],
        call_sid: str,
    ) -> None:
        """Args:
        audio: what the turn has up to an event's sample, 8 kHz.
        answered: takes the probability, 0-1, that the caller is done.
        call_sid: for the log.
        """
        self._audio, self._answered, self._call_sid = audio, answered, call_sid
        self._question: EndpointEvent | None = None
        self._questioned = asyncio.Event()

    def ask(self, event: EndpointEvent) -> None:
        """A pause that may be the end."""
        self._question = event
        self._questioned.set()

    def withdraw(self) -> None:
        """The caller went on: what was not asked yet need not be."""
        self._question = None

    async def run(self, model: TurnModel) -> None:
        """Ask `model` until cancelled; without an answer the turn ends by silence."""
        while True:
            await self._questioned.wait()
            self._questioned.clear()
            if (event := self._question) is None:
                continue
            try:
                probability = await model.completeness(self._audio(event))
            except Exception as fault:  # noqa: BLE001  # whatever a model raises, the call goes on
                _log.error("%s: the turn model failed: %s", self._call_sid, " ".join(str(fault).split()))
                continue
            await self._answered(event, probability)
