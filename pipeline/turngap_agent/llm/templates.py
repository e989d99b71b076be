"""Writes a conversation down as the text that a model goes on with; pure.

The text has two parts: what all calls share (and a prefix cache may keep), and what belongs to this request: the call's
own block, the history, the caller's last words, and the opening of the reply.
"""

from __future__ import annotations

from typing import Protocol

from turngap_agent.llm import Message, Request

CHATML_END = "<|im_end|>"
_CHATML_TURN = "<|im_start|>"
_CALLER, _AGENT = "Caller", "Receptionist"


class Template(Protocol):
    """One way to write a conversation down."""

    def shared(self, system_prompt: str) -> str:
        """The text all calls begin with."""
        ...

    def own(self, request: Request) -> str:
        """The text that follows it for this request, up to the reply."""
        ...


class ChatMl:
    """Turns between marks, as chat models of the SmolLM2 and Qwen families are trained on."""

    def shared(self, system_prompt: str) -> str:
        """The system turn, still open for the call's block."""
        return f"{_CHATML_TURN}system\n{system_prompt.strip()}"

    def own(self, request: Request) -> str:
        """The end of the system turn, the turns so far, and the opening of the assistant's."""
        opening = f"\n{_plain(request.call_block)}{CHATML_END}\n"
        turns = "".join(
            f"{_CHATML_TURN}{message.role}\n{_plain(message.text)}{CHATML_END}\n" for message in _turns(request)
        )
        return f"{opening}{turns}{_CHATML_TURN}assistant\n"


class Dialogue:
    """Lines of a play, for a system prompt that ends with examples written the same way. A reply is one line."""

    def shared(self, system_prompt: str) -> str:
        """The system prompt as it is."""
        return f"{system_prompt.strip()}\n"

    def own(self, request: Request) -> str:
        """The call's block, the lines so far, and the opening of the agent's."""
        names = {"user": _CALLER, "assistant": _AGENT}
        turns = "".join(f"{names[message.role]}: {_plain(message.text)}\n" for message in _turns(request))
        return f"\n{_plain(request.call_block)}\n{turns}{_AGENT}:"


TEMPLATES: dict[str, Template] = {"chatml": ChatMl(), "dialogue": Dialogue()}


def _turns(request: Request) -> list[Message]:
    return [*request.history, Message("user", request.words)]


def _plain(text: str) -> str:
    """One line of text that cannot pass for the template's own marks."""
    return " ".join(text.replace("<|", "< |").split())
