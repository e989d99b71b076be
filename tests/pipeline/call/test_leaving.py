"""Cancelled attempts: waited for until their engines let go, but not for ever."""

from __future__ import annotations

import asyncio

import pytest
from turngap_agent.call.leaving import Leaving
from turngap_agent.meter import Meter

pytestmark = pytest.mark.anyio


async def cancelled() -> asyncio.Task[None]:
    task: asyncio.Task[None] = asyncio.create_task(asyncio.sleep(1000))
    task.cancel()
    return task


async def test_who_left_in_peace_is_not_waited_for():
    """No attempt, or one without work: at once."""
    leaving = Leaving()
    await leaving.gone()
    leaving.add(await cancelled(), Meter())
    await leaving.gone()


async def test_work_is_waited_for():
    """Until the last engine has let go."""
    leaving, meter = Leaving(), Meter()
    leaving.add(await cancelled(), meter)
    with meter.busy():
        waiting = asyncio.create_task(leaving.gone(100))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


async def test_an_engine_that_never_lets_go_is_given_up(caplog):
    """With a line in the log; once given up it is not waited for again."""
    leaving, meter = Leaving(), Meter()
    leaving.add(await cancelled(), meter)
    with meter.busy():
        await leaving.gone(0.001)
        await leaving.gone(1000)
    assert [record.getMessage() for record in caplog.records] == [
        "an engine is still at work 0.001 s after its attempt was cancelled"
    ]
