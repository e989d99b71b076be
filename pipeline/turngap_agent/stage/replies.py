"""The replies that a synthesiser would get: those of the profile's language model, made in a process of its own.

`python -m turngap_agent.stage.replies PROFILE` reads the inputs at stdin and prints a JSON list: of each input the
clauses of the reply. So the language model leaves nothing in the process that the synthesiser is measured in.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from turngap_agent import profile as profiles
from turngap_agent.call.conversation import make_call_block
from turngap_agent.engines import Placement
from turngap_agent.errors import EngineError, TurngapError, one_line
from turngap_agent.llm import Request
from turngap_agent.llm.clauses import SIZES, SIZES_WITHOUT_EARLY_PHRASES, ClauseSplitter
from turngap_agent.stage.cold_start import load_engine
from turngap_agent.stage.inputs import StageInput, read_inputs

if TYPE_CHECKING:
    from turngap_agent.stage.command import StageOptions


async def add_replies(
    options: StageOptions, inputs: Sequence[StageInput], inputs_text: str
) -> tuple[tuple[StageInput, ...], str]:
    """Return the inputs with the clauses of their replies, for a stage that needs them; and a note where it has others.

    Raises:
        EngineError: the language model failed.
    """
    if "tts" not in (options.stage, *options.beside):
        return tuple(inputs), ""
    settings = options.profile.engines()["llm"]
    if options.profile.weightless or settings.placement() is not Placement.CPU:
        spoken = tuple(replace(one, clauses=one.clauses or (one.words,)) for one in inputs)
        return spoken, "the synthesiser speaks the callers' words: the language model is not started for its replies"
    replies = await _ask_process(options.profile_file, inputs_text)
    return tuple(
        replace(one, clauses=tuple(clauses) or (one.words,)) for one, clauses in zip(inputs, replies, strict=True)
    ), ""


async def _ask_process(profile_file: str, inputs_text: str) -> list[list[str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "turngap_agent.stage.replies",
        profile_file,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate(inputs_text.encode())
    answer: Any = json.loads(printed) if printed.strip() else {"error": f"it ended with code {process.returncode}"}
    if isinstance(answer, dict):
        raise EngineError(f"stage tts: the replies to speak could not be made: {answer['error']}")
    replies: list[list[str]] = answer
    return replies


async def make_replies(profile_file: str, inputs: Sequence[StageInput]) -> list[list[str]]:
    """Return the clauses of the reply to each input, as a call would hand them to the synthesiser."""
    profile = profiles.load(profile_file)
    settings = profile.llm
    engine = (await load_engine(settings.for_calls(profile.limits.simultaneous_calls))).engine
    replies = []
    try:
        for one in inputs:
            splitter = ClauseSplitter(SIZES if settings.early_phrase else SIZES_WITHOUT_EARLY_PHRASES)
            clauses: list[str] = []
            request = Request(make_call_block(), (), one.words, settings.max_tokens)
            async with aclosing(engine.reply(request)) as pieces:
                async for piece in pieces:
                    clauses += splitter.push(piece)
            replies.append([*clauses, *splitter.flush()])
    finally:
        await engine.close()
    return replies


def main() -> None:
    """Print the replies to the inputs at stdin."""
    try:
        replies: object = asyncio.run(make_replies(sys.argv[1], read_inputs(sys.stdin.read())))
    except TurngapError as error:
        replies = {"error": one_line(error)}
    print(json.dumps(replies), flush=True)


if __name__ == "__main__":
    main()
