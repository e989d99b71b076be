"""Other engines of the profile, busy beside the one that is measured: in this process, or in one of their own.

`python -m turngap_agent.stage.load` is that process. Its first line on stdin is {"profile": file, "stages": [...],
"inputs": the document of `inputs`}; it prints {"event": "busy"} once every engine has done a unit, and ends with stdin.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from turngap_agent import profile as profiles
from turngap_agent.engines import EngineKind
from turngap_agent.errors import EngineError, TurngapError, one_line
from turngap_agent.parts import Recorder
from turngap_agent.profile import Profile
from turngap_agent.stage.cold_start import load_engine
from turngap_agent.stage.command import choose_settings
from turngap_agent.stage.inputs import StageInput, read_inputs
from turngap_agent.stage.units import make_work, split_units

START_WITHIN_S = 600.0
"""Loading a large model, and its first unit."""


@asynccontextmanager
async def keep_busy_here(
    profile: Profile, stages: Sequence[EngineKind], inputs: Sequence[StageInput]
) -> AsyncIterator[None]:
    """Load the engines of `stages` in this process, and keep each at work inside the context.

    Raises:
        EngineError: one does not load, or failed; before the context starts, or as it ends.
    """
    engines = []
    tasks: list[asyncio.Task[None]] = []
    try:
        for stage in stages:
            loaded = await load_engine(choose_settings(profile, stage))
            engines.append((stage, loaded.engine))
        begun = [asyncio.Event() for _ in engines]
        tasks += [
            asyncio.create_task(_keep_busy(stage, engine, split_units(stage, inputs), event))
            for (stage, engine), event in zip(engines, begun, strict=True)
        ]
        while not all(event.is_set() for event in begun):  # one that fails first raises, below
            waits = [asyncio.create_task(event.wait()) for event in begun if not event.is_set()]
            await asyncio.wait([*waits, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            for task in tasks:
                if task.done():
                    task.result()
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, engine in engines:
            await engine.close()


async def _keep_busy(stage: EngineKind, engine: Any, inputs: Sequence[StageInput], begun: asyncio.Event) -> None:
    work = make_work(stage, engine)
    while True:
        for given in inputs:
            await work(given, Recorder())
            begun.set()
            await asyncio.sleep(0)  # an engine that answers without a wait would keep the loop to itself


@asynccontextmanager
async def keep_busy_in_process(
    profile_file: str, stages: Sequence[EngineKind], inputs_text: str, environment: Mapping[str, str]
) -> AsyncIterator[None]:
    """Keep the engines of `stages` at work in a process of their own with `environment`, inside the context.

    Raises:
        EngineError: the process did not start, or ended early.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "turngap_agent.stage.load",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        request = {"profile": profile_file, "stages": list(stages), "inputs": json.loads(inputs_text)}
        process.stdin.write(json.dumps(request).encode() + b"\n")
        await process.stdin.drain()
        line = await asyncio.wait_for(process.stdout.readline(), START_WITHIN_S)
        answer = json.loads(line) if line.startswith(b"{") else {"error": "it ended before it was at work"}
        if "error" in answer:
            raise EngineError(f"--beside {','.join(stages)}: {answer['error']}")
        yield
        if process.returncode is not None:
            raise EngineError(f"--beside {','.join(stages)}: its process ended with code {process.returncode}")
    except (TimeoutError, BrokenPipeError, ConnectionResetError) as error:
        raise EngineError(f"--beside {','.join(stages)}: its process does not answer ({one_line(error)})") from error
    finally:
        process.stdin.close()
        if process.returncode is None:
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _serve(request: dict[str, Any]) -> None:
    profile = profiles.load(request["profile"])
    inputs = read_inputs(json.dumps(request["inputs"]))
    async with keep_busy_here(profile, request["stages"], inputs):
        print(json.dumps({"event": "busy"}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Work until stdin ends."""
    try:
        asyncio.run(_serve(json.loads(sys.stdin.readline())))
    except TurngapError as error:
        print(json.dumps({"error": one_line(error)}), flush=True)


if __name__ == "__main__":
    main()
