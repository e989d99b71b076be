"""The body of one request to the server; pure."""

from __future__ import annotations

import re
from typing import Any

from turngap_agent.llm import Request
from turngap_agent.llm.vllm import VllmSettings

WAITING, SPECULATIVE = 0, 1
"""Priorities: vLLM serves the lower one first."""
OVER_SCRIPT_TOKENS = 2
"""Tokens generated beyond those that a script speaks on: a model has its own end to say."""


def script_words(script: str) -> list[str]:
    """The words of a script, each with the space before it."""
    return re.findall(r"\s*\S+", script)


def messages(system_prompt: str, request: Request) -> list[dict[str, str]]:
    """The conversation: the shared prompt first, then the call's block, so that all calls share what they can."""
    turns = [{"role": message.role, "content": message.text} for message in request.history]
    return [
        {"role": "system", "content": f"{system_prompt.strip()}\n\n{request.call_block}"},
        *turns,
        {"role": "user", "content": request.words},
    ]


def body(settings: VllmSettings, request: Request, prompt: dict[str, Any]) -> dict[str, Any]:
    """All of the request: `prompt` is {"messages": …} for a chat completion, {"prompt": ids} for a completion."""
    limit = min(request.max_tokens, settings.max_tokens)
    if settings.script:
        limit = request.reply_tokens or min(limit, len(script_words(settings.script)) + OVER_SCRIPT_TOKENS)
    asked: dict[str, Any] = {
        "model": settings.model,
        **prompt,
        "max_tokens": limit,
        "temperature": settings.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    # What other OpenAI servers do not know is sent only where it is wanted.
    if settings.priority and not request.waiting:
        asked["priority"] = SPECULATIVE
    if settings.ignore_eos:
        asked["ignore_eos"] = True
    if settings.script:
        asked["return_token_ids"] = True
    return asked
