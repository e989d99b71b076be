"""The sampler's process: says what GPUs there are, watches a process, and leaves whole files."""

from __future__ import annotations

import asyncio
import csv
import os
from pathlib import Path

from turngap.processes import process_log
from turngap.processes.sampler import Sampler
from turngap.store import folder as store


def test_a_watched_process_has_rows(tmp_path: Path) -> None:
    """Rows begin when a process is named; without a GPU there is a reason and no gpu.csv."""

    async def scenario() -> Sampler:
        sampler = await Sampler.start(tmp_path)
        await sampler.watch(os.getpid())
        file = tmp_path / store.PROCESS
        async with asyncio.timeout(30):
            while not file.exists() or len(file.read_text().splitlines()) < 3:  # noqa: ASYNC110  # a file has no event
                await asyncio.sleep(0.05)
        await sampler.stop()
        return sampler

    sampler = asyncio.run(scenario())
    with (tmp_path / store.PROCESS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == process_log.COLUMNS
    assert all(float(row["rss_mib"]) > 10 for row in rows)
    assert float(rows[0]["at_s"]) < float(rows[1]["at_s"])
    assert bool(sampler.gpus) != bool(sampler.no_gpu_reason)
    assert (tmp_path / store.GPU).exists() == bool(sampler.gpus)


def test_a_process_that_ends_is_no_error(tmp_path: Path) -> None:
    """An agent that dies leaves the sampler running to the end of the run."""

    async def scenario() -> None:
        sampler = await Sampler.start(tmp_path)
        await sampler.watch(2**22 + 1)
        await sampler.watch(os.getpid())
        await sampler.stop()

    asyncio.run(scenario())
    assert (tmp_path / store.PROCESS).read_text().startswith(",".join(process_log.COLUMNS))
