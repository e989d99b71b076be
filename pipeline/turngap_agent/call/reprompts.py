"""Asks a caller again whose sound had no words, if nothing follows: nobody waits for an answer that will not come.

After a cough the agent stays silent, and so it does after a word that the recogniser missed. Who coughed goes on, or
waits for nothing; who spoke waits for an answer, and hears the question once silence has lasted as long as it may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from turngap_agent.call.reply import Reply


class Reprompt:
    """One call's question to a caller who waits: `start` it after a turn without words; the next voice withdraws it."""

    def __init__(self, silence_ms: float) -> None:
        """`silence_ms`: how long a caller may wait, from the confirmed end of the turn or the agent's last audio."""
        self._silence_ms = silence_ms
        self._task: asyncio.Task[None] | None = None

    def start(self, unanswered: Reply, ask: Callable[[], Awaitable[None]]) -> None:
        """Call `ask` once the caller of that turn has waited in silence."""
        self.withdraw()
        self._task = asyncio.create_task(self._wait(unanswered, ask))

    def withdraw(self) -> None:
        """Ask nothing: the caller speaks, or the turn goes on."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _wait(self, unanswered: Reply, ask: Callable[[], Awaitable[None]]) -> None:
        await unanswered.wait_for_silence(self._silence_ms)
        self._task = None  # from here on it is a reply like any other
        await ask()
