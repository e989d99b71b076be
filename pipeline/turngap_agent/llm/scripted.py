"""A language model that generates the same reply at set times. For tests and fault injection; no model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import ClassVar, Literal

from pydantic import Field

from turngap_agent import meter
from turngap_agent.clock import now_ns, sleep_until_ns
from turngap_agent.engines import LlmSettings, LoadedEngine
from turngap_agent.llm import Request
from turngap_agent.llm.stand_in import split_words
from turngap_agent.tracing import Stage


class ScriptedLlmSettings(LlmSettings):
    """Generates the same reply, token by token, at set times."""

    governing: ClassVar[Mapping[Stage, str]] = {Stage.FIRST_TOKEN: "first_token_ms", Stage.FIRST_CLAUSE: "token_ms"}

    engine: Literal["scripted"]
    reply: str = "Certainly, I can help you with that."
    first_token_ms: float = Field(40, ge=0)
    token_ms: float = Field(5, ge=0)
    system_prompt: str = ""

    def build(self) -> LoadedEngine:
        """Return the engine; nothing is loaded."""
        return ScriptedLanguageModel(self)


class ScriptedLanguageModel:
    """Replies with its script; a token is a word with the space before it."""

    on_demand = True

    def __init__(self, settings: ScriptedLlmSettings) -> None:
        self._settings = settings
        self._tokens = split_words(settings.reply)

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        return f"scripted, first token {self._settings.first_token_ms:g} ms, then {self._settings.token_ms:g} ms each"

    async def warm_up(self) -> None:
        """Do nothing."""

    async def reply(self, request: Request) -> AsyncGenerator[str, None]:
        """Yield the script's tokens, each at its time after the first one was requested."""
        start_ns = now_ns()
        limit = min(request.max_tokens, self._settings.max_tokens)
        for index, token in enumerate(self._tokens[:limit]):
            after_ms = self._settings.first_token_ms + index * self._settings.token_ms
            with meter.current().busy():
                await sleep_until_ns(start_ns + round(after_ms * 1e6))
            yield token

    async def close(self) -> None:
        """Do nothing."""
