"""Formats a conversation as the text that a model continues; pure.

The text has two parts: the prefix that all calls share (and a prefix cache may keep), and the rest of the request: the
call's block, the history, the caller's last words, and the opening of the reply.
"""

from __future__ import annotations

from typing import Protocol

from turngap_agent.llm import Message, Request

CHATML_END = "<|im_end|>"
_CHATML_START = "<|im_start|>"
_CALLER, _AGENT = "Caller", "Receptionist"


class Template(Protocol):
    """A format of conversations."""

    def format_shared(self, system_prompt: str) -> str:
        """Return the text that all calls start with."""
        ...

    def format_request(self, request: Request) -> str:
        """Return the text that follows for this request, up to the reply."""
        ...

    def format_words(self, request: Request) -> str:
        """Return the text that follows for this request, up to the last of the caller's words."""
        ...


class ChatMl:
    """Messages between marks, the format that chat models of the SmolLM2 and Qwen families are trained on."""

    def format_shared(self, system_prompt: str) -> str:
        """Return the system message, still open for the call's block."""
        return f"{_CHATML_START}system\n{system_prompt.strip()}"

    def format_request(self, request: Request) -> str:
        """Return the end of the system message, the messages so far, and the opening of the assistant's."""
        return f"{self.format_words(request)}{CHATML_END}\n{_CHATML_START}assistant\n"

    def format_words(self, request: Request) -> str:
        """Return the end of the system message and the messages so far, the last of them still open."""
        opening = f"\n{_escape(request.call_block)}{CHATML_END}\n"
        messages = (f"{_CHATML_START}{message.role}\n{_escape(message.text)}" for message in _messages(request))
        between = f"{CHATML_END}\n"
        return f"{opening}{between.join(messages)}"


class Dialogue:
    """Lines of a play, for a system prompt that ends with examples in the same format. A reply is one line."""

    def format_shared(self, system_prompt: str) -> str:
        """Return the system prompt unchanged."""
        return f"{system_prompt.strip()}\n"

    def format_request(self, request: Request) -> str:
        """Return the call's block, the lines so far, and the opening of the agent's."""
        return f"{self.format_words(request)}\n{_AGENT}:"

    def format_words(self, request: Request) -> str:
        """Return the call's block and the lines so far, the last of them still open."""
        names = {"user": _CALLER, "assistant": _AGENT}
        messages = "\n".join(f"{names[message.role]}: {_escape(message.text)}" for message in _messages(request))
        return f"\n{_escape(request.call_block)}\n{messages}"


TEMPLATES: dict[str, Template] = {"chatml": ChatMl(), "dialogue": Dialogue()}


def _messages(request: Request) -> list[Message]:
    return [*request.history, Message("user", request.words)]


def _escape(text: str) -> str:
    """Return `text` on one line, without anything that the model would read as one of the template's marks."""
    return " ".join(text.replace("<|", "< |").split())
