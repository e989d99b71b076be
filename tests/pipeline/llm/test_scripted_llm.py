"""The scripted language model replies token by token, with a limit like a real one."""

from __future__ import annotations

import asyncio

from turngap_agent.llm import Request
from turngap_agent.llm.scripted import ScriptedLanguageModel, ScriptedLlmSettings


async def tokens(max_tokens: int) -> list[str]:
    settings = ScriptedLlmSettings(engine="scripted", reply="Yes, of course.", first_token_ms=0, token_ms=0)
    request = Request(call_block="", history=(), words="hello", max_tokens=max_tokens)
    return [token async for token in ScriptedLanguageModel(settings).reply(request)]


def test_its_tokens_join_to_the_script() -> None:
    """A token is a word with the space before it; together they are the reply."""
    assert asyncio.run(tokens(24)) == ["Yes,", " of", " course."]


def test_the_request_limits_the_reply() -> None:
    """At most `max_tokens` tokens."""
    assert asyncio.run(tokens(2)) == ["Yes,", " of"]
