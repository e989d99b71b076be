"""Reading ahead: once as the caller begins, never twice at a time, and no failure of it is the call's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

import pytest
from turngap_agent.call.ahead import ReadingAhead
from turngap_agent.errors import EngineError
from turngap_agent.llm import Request
from turngap_agent.llm.scripted import ScriptedLanguageModel, ScriptedLlmSettings

BLOCK = "a call's block"
ASKED = Request(BLOCK, (), words="", max_tokens=0)


class Reader:
    """A language model that reads ahead when it is let."""

    def __init__(self) -> None:
        self.read: list[Request] = []
        self.may = asyncio.Event()
        self.fault: EngineError | None = None
        self.forgotten: list[str] = []

    async def read_ahead(self, request: Request) -> None:
        self.read.append(request)
        await self.may.wait()
        if self.fault:
            raise self.fault

    def forget(self, call_block: str) -> None:
        self.forgotten.append(call_block)

    async def warm_up(self) -> None:
        """Nothing to do."""

    async def reply(self, request: Request) -> AsyncGenerator[str, None]:
        """Says nothing."""
        return
        yield ""

    async def close(self) -> None:
        """Nothing to do."""


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_one_reading_at_a_time() -> None:
    """A caller who begins again while it is read starts no second; after it, the next turn does."""

    async def run() -> None:
        reader = Reader()
        ahead = ReadingAhead(reader, BLOCK, "CA1")
        ahead.begin(())
        await settle()
        ahead.begin(())
        await settle()
        assert reader.read == [ASKED]
        reader.may.set()
        await settle()
        ahead.begin(())
        await settle()
        assert reader.read == [ASKED, ASKED]
        await ahead.close()

    asyncio.run(run())


def test_the_end_of_a_call_does_not_wait_for_it() -> None:
    """It is given up, and the model told that the call is over."""

    async def run() -> None:
        reader = Reader()
        ahead = ReadingAhead(reader, BLOCK, "CA1")
        ahead.begin(())
        await settle()
        assert reader.forgotten == []
        await asyncio.wait_for(ahead.close(), 5)
        assert reader.forgotten == [BLOCK]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_a_failure_is_told_and_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    """The turn's own request will say it too, if it stays."""

    async def run() -> None:
        reader = Reader()
        reader.fault = EngineError("llm: smollm2 failed: out of memory")
        reader.may.set()
        ahead = ReadingAhead(reader, BLOCK, "CA1")
        ahead.begin(())
        await settle()
        await ahead.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert [record.message for record in caplog.records] == ["CA1: reading ahead: llm: smollm2 failed: out of memory"]


def test_a_model_that_cannot_is_left_alone() -> None:
    """Nothing is begun."""

    async def run() -> None:
        ahead = ReadingAhead(ScriptedLanguageModel(ScriptedLlmSettings(engine="scripted")), BLOCK, "CA1")
        ahead.begin(())
        assert len(asyncio.all_tasks()) == 1
        await ahead.close()

    asyncio.run(run())
