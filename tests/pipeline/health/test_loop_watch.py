"""The watch of the event loop: what blocked it and where, and when it is not watched."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from turngap_agent.errors import EngineError
from turngap_agent.health.loop_watch import LoopWatch
from turngap_agent.health.watching import start_watch
from turngap_agent.tracing import HEALTH_LOG, OUTPUT_FOLDER, STACK_RING, read_boot_id


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / HEALTH_LOG).read_text().splitlines()]


def block_until_seen(watch: LoopWatch) -> None:
    """Hold the event loop until the watching thread has looked at it twice."""
    while sum(watch._stacks.values()) < 2:
        time.sleep(0.001)


def test_a_blocked_loop_is_told_with_the_function_that_blocked_it(tmp_path: Path) -> None:
    """How long, how much of it code ran or waited for a core, and the stack below the event loop."""

    async def scenario() -> None:
        watch = LoopWatch(tmp_path)
        watch.start()
        block_until_seen(watch)
        await asyncio.sleep(0.03)
        await watch.stop()

    asyncio.run(scenario())
    start, *rest = lines(tmp_path)
    assert start == {"kind": "start", "boot_id": read_boot_id()}
    blocked = [line for line in rest if line["kind"] == "loop" and "block_until_seen" in str(line["stack"])]
    assert len(blocked) == 1
    (line,) = blocked
    assert isinstance(line["end_ns"], int)
    assert isinstance(line["start_ns"], int)
    assert line["end_ns"] - line["start_ns"] >= 10_000_000
    stack = line["stack"]
    assert isinstance(stack, list)
    assert not any("asyncio/" in frame for frame in stack)
    assert str(stack[-1]).startswith("block_until_seen (health/test_loop_watch.py:")


def test_a_process_without_a_folder_is_not_watched(tmp_path: Path) -> None:
    """An agent that is started by hand writes nothing; asked for stacks, it says what is missing."""

    async def scenario() -> None:
        assert start_watch(sample_stacks=False, environment={}) is None
        with pytest.raises(EngineError, match=OUTPUT_FOLDER):
            start_watch(sample_stacks=True, environment={})

    asyncio.run(scenario())
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_cannot_be_written_costs_no_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The agent serves without it, and its log says why."""

    async def scenario() -> None:
        assert start_watch(sample_stacks=False, environment={OUTPUT_FOLDER: str(tmp_path / "gone")}) is None

    asyncio.run(scenario())
    assert "not recorded: No such file or directory" in caplog.text


def test_stacks_are_sampled_only_if_they_are_asked_for(tmp_path: Path) -> None:
    """The ring is a file of 16 MiB, and sampling costs something."""

    async def scenario(folder: Path, *, sample: bool) -> None:
        watch = start_watch(sample_stacks=sample, environment={OUTPUT_FOLDER: str(folder)})
        assert watch is not None
        await watch.stop()

    for name in ("without", "with"):
        (tmp_path / name).mkdir()
    asyncio.run(scenario(tmp_path / "without", sample=False))
    asyncio.run(scenario(tmp_path / "with", sample=True))
    assert not (tmp_path / "without" / STACK_RING).exists()
    assert (tmp_path / "with" / STACK_RING).stat().st_size > 1 << 24
