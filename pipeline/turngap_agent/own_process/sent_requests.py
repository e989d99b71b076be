"""Requests that are answered in another process: their functions stay here, and what they are told comes as messages.

The messages are ("fact", name, value) and ("sentence_end", probability).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from turngap_agent.llm import Request

TOLD = ("fact", "sentence_end")
"""The kinds of messages on a request."""


def find_request(arguments: tuple[Any, ...]) -> Request | None:
    """Return the request among an engine's arguments."""
    return next((one for one in arguments if isinstance(one, Request)), None)


def strip_functions(argument: Any) -> Any:
    """Return an argument without what cannot be sent: a request's functions are called on this side."""
    if not isinstance(argument, Request):
        return argument
    mark = None if argument.set_sentence_end is None else _unsendable
    return replace(argument, set_attribute=_unsendable, set_sentence_end=mark)


def attach_functions(argument: Any, tell: Callable[[tuple[Any, ...]], None]) -> Any:
    """Return an argument for the engine: what it says of a request is told as a message."""
    if not isinstance(argument, Request):
        return argument
    wants = argument.set_sentence_end is not None
    return replace(
        argument,
        set_attribute=lambda name, value: tell(("fact", name, value)),
        set_sentence_end=(lambda probability: tell(("sentence_end", probability))) if wants else None,
    )


def pass_on(request: Request | None, message: tuple[Any, ...]) -> None:
    """Call the request's own function with what a message says of it."""
    match message:
        case ("fact", name, value) if request is not None:
            request.set_attribute(name, value)
        case ("sentence_end", value) if request is not None and request.set_sentence_end is not None:
            request.set_sentence_end(value)


def _unsendable(*_: Any) -> None:
    """Stands for a function on the agent's side."""
