"""Measures what an engine in a process of its own costs: the way there and back, and the way of each piece.

    python -m benchmarks.process_door [--rounds 200] [--json]        half a minute

Scripted engines that take no time, in pairs: in each round the same request goes to one in this process and to one
behind `own_process`, in turn. The figures are medians of the differences, with their 10th and 90th percentiles.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from turngap_agent import loading
from turngap_agent.engines import EngineSettings
from turngap_agent.llm import Request
from turngap_agent.llm.scripted import ScriptedLlmSettings
from turngap_agent.stt.scripted import ScriptedSttSettings
from turngap_agent.tts.scripted import ScriptedTtsSettings

from benchmarks.promises import Promise, make_parser, print_result

REPLY = "Certainly, I can help you with that, and I will tell you at once how it is done, if you like."
AUDIO = np.zeros(5 * 8000, np.float32)
"""5 s of a caller's speech."""
REQUEST = Request("a call's block", (), "hello there", 64)
Ask = Callable[[Any], Awaitable[list[float]]]
"""Asks an engine, and returns when each piece of its answer came, ms after the request."""


async def ask_stt(engine: Any) -> list[float]:
    """Ask for the transcript of `AUDIO`."""
    began = time.perf_counter()
    await engine.transcribe(AUDIO)
    return [1e3 * (time.perf_counter() - began)]


async def ask_llm(engine: Any) -> list[float]:
    """Ask for a reply."""
    began = time.perf_counter()
    return [1e3 * (time.perf_counter() - began) async for _ in engine.reply(REQUEST)]


async def ask_tts(engine: Any) -> list[float]:
    """Ask for the audio of a clause."""
    began = time.perf_counter()
    return [1e3 * (time.perf_counter() - began) async for _ in engine.speak(REPLY, ())]


ENGINES: tuple[tuple[str, EngineSettings, Ask], ...] = (
    ("stt, 5 s of audio", ScriptedSttSettings(engine="scripted", delay_ms=0), ask_stt),
    ("llm", ScriptedLlmSettings(engine="scripted", reply=REPLY, first_token_ms=0, token_ms=0), ask_llm),
    ("tts", ScriptedTtsSettings(engine="scripted", first_audio_ms=0), ask_tts),
)


async def measure(settings: EngineSettings, ask: Ask, rounds: int) -> tuple[list[float], list[float]]:
    """Return what the door adds, ms, of each round: to the first piece, and to each later one on average."""
    pair = [await loading.load_one(settings.model_copy(update={"own_process": own})) for own in (False, True)]
    for engine in pair:
        await loading.warm_up_one(settings, engine)
    first, later = [], []
    try:
        for _ in range(rounds):
            here, there = [await ask(engine) for engine in pair]
            first.append(there[0] - here[0])
            if len(here) > 1:
                spans = [times[-1] - times[0] for times in (here, there)]
                later.append((spans[1] - spans[0]) / (len(here) - 1))
    finally:
        for engine in pair:
            await engine.close()
    return first, later


def describe(name: str, added_ms: list[float]) -> Promise:
    """Return the row of one figure."""
    tenths = statistics.quantiles(added_ms, n=10)
    median = statistics.median(added_ms)
    return Promise(name, f"{median:.2f} ms ({tenths[0]:.2f} to {tenths[-1]:.2f})", median, holds=None)


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="pairs of requests to each engine")
    options = parser.parse_args(arguments)
    rows = []
    for name, settings, ask in ENGINES:
        first, later = asyncio.run(measure(settings, ask, options.rounds))
        rows.append(describe(f"{name}: the first piece later by", first))
        if later:
            rows.append(describe(f"{name}: each later piece later by", later))
    return print_result("an engine in a process of its own", rows, {"rounds": options.rounds}, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
