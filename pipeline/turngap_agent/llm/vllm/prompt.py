"""The body of a request to the server: the conversation as messages, or as token ids; pure but for stored replies.

Token ids are for models whose tokenizer is not available. Each word or mark is one stand-in id, always the same. The
ids that the model generated are in the history as they are, so that the prefix cache serves them as it would serve a
real conversation's.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Any

from turngap_agent.llm import Request
from turngap_agent.llm.stand_in import GeneratedIds, split_words
from turngap_agent.llm.vllm.settings import VllmSettings

SPECULATIVE_PRIORITY = 1
"""vLLM serves requests of lower priority numbers first; its default is 0."""
TOKENS_AFTER_SCRIPT = 2
"""Tokens generated beyond those that carry a script's words: a model also generates an end."""
FIRST_ID, N_IDS = 32, 224
"""Stand-in ids: above those that vocabularies reserve for marks, and inside the smallest vocabulary."""
_WORD = re.compile(r"\w+|[^\w\s]")


def build_messages(system_prompt: str, request: Request) -> list[dict[str, str]]:
    """Return the conversation: the system prompt first, then the call's block, so that calls share a long prefix."""
    turns = [{"role": message.role, "content": message.text} for message in request.history]
    return [
        {"role": "system", "content": f"{system_prompt.strip()}\n\n{request.call_block}"},
        *turns,
        {"role": "user", "content": request.words},
    ]


def build_body(settings: VllmSettings, request: Request, prompt: dict[str, Any]) -> dict[str, Any]:
    """Return the whole body; `prompt` is {"messages": …} for a chat completion, {"prompt": ids} for a completion."""
    limit = min(request.max_tokens, settings.max_tokens)
    if settings.script:
        limit = request.reply_tokens or min(limit, len(split_words(settings.script)) + TOKENS_AFTER_SCRIPT)
    body: dict[str, Any] = {
        "model": settings.model,
        **prompt,
        "max_tokens": limit,
        "temperature": settings.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    # Fields that other OpenAI servers do not know are sent only where they are needed.
    if settings.priority and not request.waiting:
        body["priority"] = SPECULATIVE_PRIORITY
    if settings.ignore_eos:
        body["ignore_eos"] = True
    if settings.script:
        body["return_token_ids"] = True
    return body


def stand_in_ids(text: str) -> list[int]:
    """Return one id for each word and mark."""
    return [FIRST_ID + zlib.crc32(word.encode()) % N_IDS for word in _WORD.findall(text.lower())]


class PromptIds:
    """Builds the prompts of all calls as ids, with what was generated in each."""

    def __init__(self) -> None:
        self._generated = GeneratedIds()

    def build(self, system_prompt: str, request: Request) -> list[int]:
        """Return system prompt, the call's block, the history and the caller's last words as ids."""
        ids = [*stand_in_ids(system_prompt), *stand_in_ids(request.call_block)]
        for index, message in enumerate(request.history):
            text_ids = stand_in_ids(message.text)
            ids += text_ids if message.role == "user" else self._generated.of_reply(request, index, text_ids)
        return [*ids, *stand_in_ids(request.words)]

    def store(self, request: Request, ids: Sequence[int]) -> None:
        """Store the `ids` that the model generated for that request; a turn's last attempt replaces earlier ones."""
        self._generated.store(request, ids)
